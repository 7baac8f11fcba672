"""The fast execution against the chapter's formulas and the readable functions of the model."""

import numpy as np
import pytest

import chapter
from mlp_mx import fast, model, train
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.runtime import autograd, mx, nd


@pytest.fixture(params=[(256, 64), (37, 1), (300, 100)], ids=str)
def case(request):
    """Parameters of some size, and a batch of some size."""
    num_hidden, batch_size = request.param
    random = np.random.RandomState(4)
    X = nd.array(random.uniform(0, 1, (batch_size, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, batch_size))
    return model.init_params(num_hidden=num_hidden, weight_scale=0.05, seed=5), X, label


def test_network_computes_the_models_loss_and_gradients(case):
    params, X, label = case
    with autograd.record():
        expected = model.softmax_cross_entropy(model.net(X, params), nd.one_hot(label, 10))
    expected.backward()
    gradients = [param.grad.asnumpy() for param in params]
    values = [param.asnumpy() for param in params]
    for param in params:
        param.grad[:] = 0
    with fast.training(params) as network:
        with autograd.record():
            loss = network.loss(X, label)
        loss.backward()
    assert loss.asscalar() == pytest.approx(expected.sum().asscalar(), rel=1e-5)
    for param, gradient, value in zip(params, gradients, values):
        assert abs(param.grad.asnumpy() - gradient).max() < 1e-5 * abs(gradient).max()
        assert (param.asnumpy() == value).all()  # nobody has changed it


def test_network_predicts_what_the_model_predicts(case):
    params, X, label = case
    predictions = model.predict(X, params)
    assert (fast.Network(params).predict(X) == predictions).asnumpy().all()
    expected = int((predictions == label).asnumpy().sum())
    assert fast.count_correct([(X, label)] * 3, params) == (3 * expected, 3 * len(label))


def test_training_gives_back_what_an_interrupted_epoch_reached(case):
    params, X, label = case
    literal = [param.copy() for param in params]
    for param in literal:
        param.attach_grad()

    def batches():
        for _ in range(3):
            yield X, label
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train_epoch(params, batches(), 0.001)
    for _ in range(3):
        chapter.step(X, label, literal, 0.001)
    for param, expected in zip(params, literal):
        np.testing.assert_allclose(param.asnumpy(), expected.asnumpy(), atol=1e-6)
        np.testing.assert_allclose(param.grad.asnumpy(), expected.grad.asnumpy(),
                                   atol=1e-5 * abs(expected.grad.asnumpy()).max())


def test_parameters_written_between_epochs_are_used(case):
    params, X, label = case
    loader = ArrayLoader("synthetic", X, label, 64)
    epochs = train.fit(params, loader, loader, epochs=3, learning_rate=0.001)
    next(epochs)
    for param in params:
        param[:] = 0
    record = next(epochs)
    assert record.loss == pytest.approx(np.log(10), rel=0.01)  # all classes are alike


def test_training_works_on_another_context_than_the_datas(case):
    params, X, label = case
    elsewhere = [param.as_in_context(mx.cpu(1)) for param in params]
    for param in elsewhere:
        param.attach_grad()
    batches = [(X, label)] * 2
    assert train.train_epoch(params, batches, 0.001) == train.train_epoch(elsewhere, batches, 0.001)
    for a, b in zip(params, elsewhere):
        assert b.context == mx.cpu(1)
        assert (a.asnumpy() == b.asnumpy()).all()


def test_mkl_computes_the_same(python, mnist_dir):
    """With the `fast` extra installed, against OpenBLAS; without it, against itself."""
    code = (
        "from mlp_mx import data, model, train\n"
        "train_data, test_data = data.load('mnist')\n"
        "params = model.init_params(seed=0)\n"
        "loss = train.train_epoch(params, train_data, 0.001)\n"
        "print(loss, train.evaluate_accuracy(test_data, params))"
    )
    ends = []
    for blas in ("mkl", "openblas"):
        result = python("-c", code, MLP_MX_BLAS=blas, MLP_MX_DATA=str(mnist_dir))
        assert result.stderr == ""
        ends.append([float(word) for word in result.stdout.split()])
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    assert ends[0][1] == pytest.approx(ends[1][1], abs=0.002)

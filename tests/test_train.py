"""Training against the chapter's formulas, NumPy and the published table."""

import numpy as np
import pytest

import chapter
from mlp_mx import data, model, runtime, train
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.train import published
from mlp_mx.runtime import autograd, nd


def synthetic(num_examples, seed=0):
    """Sparse random images, labelled by a random linear function of them: something to learn."""
    random = np.random.RandomState(seed)
    images = random.uniform(0, 1, (num_examples, 784))
    images[random.uniform(size=images.shape) > 0.2] = 0
    label = (images @ random.normal(size=(784, 10))).argmax(axis=1)
    return nd.array(images.reshape(-1, 28, 28, 1)), nd.array(label)


def loaders(num_examples=1000, batch_size=64):
    return [
        ArrayLoader("synthetic", *synthetic(num_examples), batch_size, seed)
        for seed in (0, None)
    ]


def test_sgd_subtracts_lr_times_gradient_in_place():
    params = model.init_params(num_hidden=16, seed=0)
    before = [param.asnumpy() for param in params]
    identities = [id(param) for param in params]
    with autograd.record():
        loss = sum(nd.sum(param ** 3) for param in params)
    loss.backward()
    train.SGD(params, 0.25)
    assert identities == [id(param) for param in params]
    for param, old in zip(params, before):
        np.testing.assert_allclose(param.asnumpy(), old - 0.25 * 3 * old ** 2, rtol=1e-6)


def test_two_hundred_steps_equal_the_chapters_formulas():
    train_data, _ = loaders(200 * 64)
    params = model.init_params(seed=1)
    literal = model.init_params(seed=1)
    loss = train.train_epoch(params, train_data, 0.001)
    losses = [chapter.step(X, label, literal, 0.001) for X, label in train_data]
    assert len(losses) == 200
    assert loss == pytest.approx(sum(losses) / 12800, rel=1e-5)
    start = model.init_params(seed=1)
    for param, expected, initial in zip(params, literal, start):
        assert np.abs(param.asnumpy() - expected.asnumpy()).max() < 5e-5
        assert np.abs(param.asnumpy() - initial.asnumpy()).max() > 1e-3  # it did learn


def test_evaluate_accuracy_takes_any_iterable():
    params = model.init_params(seed=0)
    X, _ = synthetic(10)
    predicted = model.predict(X, params)
    batches = iter([(X, predicted), (X, predicted + 1), (X, predicted)])
    assert train.evaluate_accuracy(batches, params) == pytest.approx(2 / 3)
    assert train.evaluate_accuracy([(X, predicted.astype("int32"))], params) == 1.0  # as gluon's


def test_fit_yields_one_record_an_epoch():
    train_data, test_data = loaders()
    params = model.init_params(seed=0)
    records = list(train.fit(params, train_data, test_data, epochs=3, learning_rate=0.01))
    assert [record.epoch for record in records] == [0, 1, 2]
    assert records[2].loss < records[0].loss
    assert records[-1].test_accuracy == train.evaluate_accuracy(test_data, params)
    assert records[-1].train_accuracy == records[-1].test_accuracy  # the examples are the same
    assert all(record.seconds > 0 for record in records)


def test_diverging_training_stops_at_the_batch():
    X, label = synthetic(640)
    poisoned = X.copy()
    poisoned[130] = float("inf")  # the third batch of 64
    batches = ArrayLoader("synthetic", poisoned, label, 64)
    with pytest.raises(train.DivergenceError, match="epoch 7, batch 2: .*a smaller learning rate"):
        train.train_epoch(model.init_params(seed=0), batches, 0.001, epoch=7)


def test_diverging_in_the_last_batch_is_seen():
    X, label = synthetic(64)
    params = model.init_params(weight_scale=1, seed=0)
    with pytest.raises(train.DivergenceError, match="parameter is not finite after epoch 0"):
        train.train_epoch(params, [(X, label)], 3e38)


@pytest.mark.slow
def test_ten_epochs_on_glyphs_reach_what_the_readme_says():
    """The regression test of machines without MNIST: 97.90 %, the mean of three seeds."""
    train_data, test_data = data.load("glyphs")
    params = model.init_params(seed=0)
    *_, last = train.fit(params, train_data, test_data)
    assert last.test_accuracy == pytest.approx(0.979, abs=0.006)
    assert last.train_accuracy > last.test_accuracy


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("gpu", marks=pytest.mark.gpu("gpu"))])
def test_ten_epochs_reproduce_the_published_table(mnist_dir, device):
    ctx = runtime.context(device)
    train_data, test_data = data.load("mnist", ctx=ctx)
    ten_epochs = list(train.fit(model.init_params(seed=0, ctx=ctx), train_data, test_data))
    losses, _, accuracies = np.mean(published.RUNS, axis=0).T
    np.testing.assert_allclose([record.loss for record in ten_epochs], losses, rtol=0.06)
    found = [record.test_accuracy for record in ten_epochs]
    np.testing.assert_allclose(found[1:], accuracies[1:], atol=0.010)
    assert 0.970 <= found[-1] <= 0.980
    assert ten_epochs[-1].train_accuracy == pytest.approx(0.9875, abs=0.005)  # of the table, too

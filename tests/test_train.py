"""Training against the chapter's formulas, NumPy and the published table."""

import concurrent.futures
import warnings

import numpy as np
import pytest

import chapter
from mlp_mx import InputError, data, fast, model, runtime, train
from mlp_mx.data import ArrayLoader
from mlp_mx.train import published
from mlp_mx.runtime import autograd, nd


def synthetic(num_examples):
    """Sparse random images, labelled by a random linear function of them: something to learn."""
    random = np.random.RandomState(0)
    images = random.uniform(0, 1, (num_examples, 784))
    images[random.uniform(size=images.shape) > 0.2] = 0
    label = (images @ random.normal(size=(784, 10))).argmax(axis=1)
    return nd.array(images.reshape(-1, 28, 28, 1)), nd.array(label)


def own_loop(params, batches):
    """The chapter's loop, as a reader writes it, with the two lines that make it fast."""
    cumulative_loss = 0
    net, loss = fast.traced(chapter.net), fast.traced(chapter.softmax_cross_entropy)
    with fast.packed(params) as params:
        for X, label in batches:
            label_one_hot = nd.one_hot(label, 10)
            with autograd.record():
                output = net(X.reshape((-1, 784)), params)
                losses = loss(output, label_one_hot)
            losses.backward()
            train.SGD(params, 0.001)
            cumulative_loss += nd.sum(losses).asscalar()
    return cumulative_loss


def initial():
    return model.init_params(num_hidden=128, seed=1)


@pytest.fixture(scope="module")
def literal():
    """Batches, and what the chapter's formulas make of them: parameters, and the summed loss."""
    batches, params = ArrayLoader(*synthetic(200 * 64), 64, seed=0), initial()
    losses = [chapter.step(X, label, params, 0.001) for X, label in batches]
    assert len(losses) == 200
    return batches, params, sum(losses)


@pytest.mark.parametrize("trained", [
    own_loop,
    lambda params, batches: train.train_epoch(params, batches, 0.001),
    lambda params, batches: next(train.fit(params, batches, [next(iter(batches))])).loss * 12800,
], ids=["own loop", "train_epoch", "fit"])
def test_two_hundred_steps_equal_the_chapters_formulas(trained, literal):
    batches, expected_params, expected_loss = literal
    params = initial()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = trained(params, batches)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for param, expected, start in zip(params, expected_params, initial()):
        assert np.abs(param.asnumpy() - expected.asnumpy()).max() < 5e-5
        assert np.abs(param.asnumpy() - start.asnumpy()).max() > 1e-3  # it did learn


@pytest.mark.parametrize("arrange", [
    lambda X, label: X, lambda X, label: (X, label), lambda X, label: [(X, label)]])
def test_arrays_in_place_of_batches_are_told_of_the_loader(arrange):
    with pytest.raises(InputError, match=r"use data\.ArrayLoader\(X, label\)$"):
        train.evaluate_accuracy(arrange(np.zeros((4, 784)), np.zeros(4)), model.init_params())


def test_two_threads_train_at_once():
    X, label = synthetic(640)
    batches = [(X[start:start + 32], label[start:start + 32]) for start in range(0, 640, 32)]

    def trained(seed):
        params = model.init_params(num_hidden=16, seed=seed)
        epochs = [epoch[:4] for epoch in train.fit(params, batches, batches, 2)]
        return epochs, [param.asnumpy().tolist() for param in params]

    expected = [trained(seed) for seed in (0, 1)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for _ in range(3):
            assert [*pool.map(trained, (0, 1))] == expected


def test_evaluate_accuracy_takes_any_batches_and_matches_numpy():
    params = model.init_params(seed=0)
    X, label = synthetic(1000)
    predicted = nd.array(model.net(X, params).asnumpy().argmax(axis=1))
    right = (predicted == label).asnumpy().mean()
    loader = ArrayLoader(X, label, 64, seed=0)
    thirds = iter([(X, predicted), (X, predicted + 1), (X, predicted)])
    integers = [(X, predicted.astype("int32"))]  # as gluon's
    for batches, expected in (loader, right), ([*loader], right), (thirds, 2 / 3), (integers, 1):
        assert train.evaluate_accuracy(batches, params) == pytest.approx(expected, abs=1e-7)


def test_diverging_training_stops_after_the_epoch():
    X, label = synthetic(640)
    params, batches = model.init_params(weight_scale=1, seed=0), [(X[:64], label[:64])]
    with pytest.raises(train.DivergenceError, match="parameter is not finite after epoch 0"):
        next(train.fit(params, batches, batches, learning_rate=3e38))
    X[130] = float("inf")  # the third batch of 64
    batches = [(X[start:start + 64], label[start:start + 64]) for start in range(0, 640, 64)]
    with pytest.raises(train.DivergenceError, match="in epoch 7: .*a smaller learning rate"):
        next(train.fit(model.init_params(seed=0), batches, batches, start_epoch=7))
    with pytest.raises(train.DivergenceError, match="before the first update"):
        next(train.fit(model.init_params(seed=0), batches[2:], batches))


def test_epochs_after_the_published_ones_are_compared_with_the_last_of_them():
    assert published.after(1)[1] == "0.9287 and 0.9244"
    assert published.after(9) == published.after(10) == published.after(99) == (
        "0.98763 and 0.98743", "0.9754 and 0.9751")


@pytest.mark.slow
def test_ten_epochs_on_glyphs_reach_what_the_readme_says(fit_and_evaluate_last):
    """The regression test for machines without MNIST: 97.90%, the mean of three seeds."""
    train_data, test_data = data.load("glyphs")
    last, = fit_and_evaluate_last(model.init_params(seed=0), train_data, test_data, epochs=10)
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

"""Graphs against the functions that they were traced from."""

import functools
import threading
import warnings

import numpy as np
import pytest

import chapter
from mlp_mx import InputError, fast, model, train
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.runtime import autograd, mx, nd


def with_gradients(params):
    """A copy, to be trained on its own."""
    copies = [param.copy() for param in params]
    for copy in copies:
        copy.attach_grad()
    return copies


@pytest.fixture
def case():
    """Parameters and a batch."""
    random = np.random.RandomState(4)
    X = nd.array(random.uniform(0, 1, (100, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, 100))
    return model.init_params(num_hidden=37, weight_scale=0.05, seed=5), X, label


def block(X, W, b):
    return nd.tanh(nd.dot(X, W) + b) * 2 - X[:, :1]


def gradients(function, arrays):
    arrays = with_gradients(arrays)
    with autograd.record():
        result = function(*arrays)
        result = result ** 2  # it may be a step of more
    result.backward()
    return [result.asnumpy(), *(array.grad.asnumpy() for array in arrays)]


def test_traced_computes_the_same_and_runs_python_once_per_shape():
    calls = []

    @fast.traced
    def traced(X, W, b):
        calls.append(X.shape)
        return block(X, W, b)

    random = np.random.RandomState(2)
    W, b = nd.array(random.normal(size=(5, 3))), nd.array(random.normal(size=3))
    for size in (4, 4, 7, 4):
        X = nd.array(random.normal(size=(size, 5)))
        for found, right in zip(gradients(traced, [X, W, b]), gradients(block, [X, W, b])):
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(traced(X, W, b).asnumpy(), block(X, W, b).asnumpy(), rtol=1e-5)
    assert sorted(calls) == [(4, 5)] * 2 + [(7, 5)] * 2  # with gradients, and without


def test_traced_takes_lists_and_leaves_gradients_alone():
    params = model.init_params(num_inputs=6, num_hidden=4, num_outputs=3, weight_scale=1, seed=0)
    for param in params:
        param.grad[:] = 7
    X = nd.array(np.random.RandomState(3).normal(size=(5, 6)))
    with autograd.record():
        logits = fast.traced(model.net)(X, params)
    assert all((param.grad == 7).asnumpy().all() for param in params)
    np.testing.assert_allclose(logits.asnumpy(), model.net(X, params).asnumpy(), rtol=1e-5)


def constant(X):
    return X + nd.array([1, 2, 3])


def branch(X):
    return X if X.sum() > 0 else -X


def dropout(X):
    return nd.Dropout(X, mode="always")


def no_result(X):
    X.sum()


def silenced(X):
    with autograd.pause():
        factor = X * 2
    return X + factor


def swallowed(X):
    try:
        return X * X.sum().asscalar()
    except Exception:
        return X


def changed_in_place(X):
    with autograd.pause():
        X[:] = nd.clip(X, -2, 2)
    return X * 2


def random_in_any_mode(X):
    with autograd.train_mode():
        return nd.Dropout(X)


@pytest.mark.parametrize("function, reason", [
    (swallowed, "values are read"), (changed_in_place, "other results"),
    (random_in_any_mode, "random numbers"),
    (constant, "a constant"), (branch, "values are read"), (silenced, "a constant"),
    (nd.shuffle, "non-differentiable"), (dropout, "random numbers"),
    (no_result, "the result is not one array"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_traced_runs_as_written(function, reason):
    def own(X):
        return function(X)

    traced = fast.traced(own)
    X = nd.array(np.arange(1, 300).reshape(-1, 1) * np.ones(3))
    fast.traced(nd.Dropout)(X)  # which has the tape of random_in_any_mode, and does nothing here
    with pytest.warns(UserWarning, match=f"running own as written, .*{reason}"):
        first = traced(X)
    if function is no_result:
        assert first is traced(-X) is None
        return
    results = []
    for each in (traced, function):
        mx.random.seed(0)
        results.append(each(-X).asnumpy())
    np.testing.assert_array_equal(*results)
    if function not in (nd.shuffle, dropout, random_in_any_mode):
        np.testing.assert_array_equal(first.asnumpy(), function(X).asnumpy())


def test_traced_tells_apart_how_arrays_are_passed():
    a, b, c = (nd.array([value]) for value in (1, 2, 4))
    a.attach_grad()  # as a parameter

    def first_minus_second(xs, ys):
        return sum(xs[1:], xs[0]) - sum(ys[1:], ys[0])

    traced = fast.traced(first_minus_second)
    for args in (([a], [a]), ([a], [b]), ([a, b], [c]), ([a], [b, c])):
        assert traced(*args) == first_minus_second(*args)
    traced = fast.traced(lambda X: X - a)
    with pytest.warns(UserWarning, match="a constant"):
        assert traced(a) == 0
    assert traced(b) == 1


def test_a_traced_function_may_call_another():
    @fast.traced
    def layer(X, W, b):
        return nd.relu(nd.dot(X, W) + b)

    def net(X, params):
        W1, b1, W2, b2, W3, b3 = params
        return nd.dot(layer(layer(X, W1, b1), W2, b2), W3) + b3

    params, X = model.init_params(6, 4, 3, 1, seed=0), nd.ones((5, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(
            fast.traced(net)(X, params).asnumpy(), model.net(X, params).asnumpy(), rtol=1e-5)


def test_a_function_that_is_traced_leaves_its_arguments_as_one_call_does():
    @fast.traced
    def step(W, d):
        W -= d
        return W * 1

    W = nd.array([10])
    with pytest.warns(UserWarning, match="running step as written"):
        assert step(W, nd.array([1])) == 9 == W


def test_wraps_does_not_mark_another_update_as_elementwise():
    @functools.wraps(train.SGD)
    def update(params, lr):
        train.SGD(params, lr)

    assert fast.is_elementwise(train.SGD) and not fast.is_elementwise(update)


def test_other_threads_read_arrays_while_a_function_is_traced():
    read = []

    def own(X):
        thread = threading.Thread(target=lambda: read.append(nd.ones(1).asscalar()))
        thread.start()
        thread.join()
        return 2 * X

    assert fast.traced(own)(nd.ones(3)).asnumpy().tolist() == [2, 2, 2] and read == [1]


def test_traced_raises_what_is_wrong_with_its_arguments():
    with pytest.raises(InputError, match=r"block cannot be computed from arrays .* \(2, 3\)"):
        fast.traced(block)(nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(3))
    with pytest.raises(InputError, match=r"\(2, 3\), \(4, 3\), \(3,\): "):
        fast.traced(lambda X, layer: block(X, *layer))(
            nd.ones((2, 3)), (nd.ones((4, 3)), nd.ones(3)))


def test_rounding_in_a_large_network_does_not_keep_it_from_being_traced():
    """Of two million inputs of relu, some are so close to 0 that their signs depend on rounding."""
    params = model.init_params(num_hidden=1024, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (9, 15):  # which are such cases on some CPUs
            random = np.random.RandomState(seed)
            X = nd.array(random.uniform(0, 1, (1024, 784)))
            train.train_epoch(params, [(X, nd.array(random.randint(0, 10, 1024)))], 0)


def test_gradients_that_cancel_do_not_keep_a_net_from_being_traced():
    """A bias before the batch's mean is subtracted has no gradient, but for rounding."""
    def net(X, params):
        W1, b1, W2, b2 = params
        h1 = nd.dot(X, W1) + b1
        return nd.dot(nd.relu(h1 - h1.mean(axis=0, keepdims=True)), W2) + b2

    random = np.random.RandomState(6)
    params = [nd.array(random.normal(0, 0.1, shape)) for shape in ((64, 32), 32, (32, 10), 10)]
    X, label = nd.array(random.uniform(size=(100, 64))), nd.array(random.randint(0, 10, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train.train_epoch(params, [(X, label)], 0.001, net=net)


@pytest.mark.parametrize("factor", [np.nan, 1.01])
def test_a_graph_that_computes_something_else_is_refused(factor):
    X = nd.ones((2, 3))
    with pytest.raises(fast._Untraceable, match="gives other results"):
        fast._verify(lambda given: factor * given[0], X, [X], [X], [False], with_gradients=False)


def test_gradients_are_left_alone_where_a_graph_is_refused():
    X = nd.ones((2, 3))
    X.attach_grad()
    X.grad[:] = 7
    with autograd.record():
        result = 2 * X
    with pytest.raises(fast._Untraceable, match="gives other results"):
        fast._verify(lambda given: given[0] + nd.BlockGrad(given[0]), result, [X], [X], [False],
                     with_gradients=True)
    assert (X.grad == 7).asnumpy().all()


def test_training_gives_back_what_an_interrupted_epoch_reached(case):
    """The parameters, and the gradients of the last batch."""
    params, X, label = case
    literal = with_gradients(params)

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
    assert next(epochs).loss == pytest.approx(np.log(10), rel=0.01)  # all classes are alike


def test_training_works_on_another_context_than_the_datas(case):
    params, X, label = case
    elsewhere = with_gradients([param.as_in_context(mx.cpu(1)) for param in params])
    batches = [(X, label)] * 2
    assert train.train_epoch(params, batches, 0.001) == train.train_epoch(elsewhere, batches, 0.001)
    for a, b in zip(params, elsewhere):
        assert b.context == mx.cpu(1)
        assert (a.asnumpy() == b.asnumpy()).all()

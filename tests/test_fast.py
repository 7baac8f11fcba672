"""Graphs against the functions that they were traced from."""

import collections
import functools
import os
import re
import threading
import warnings

import numpy as np
import pytest

import chapter
from mlp_mx import InputError, fast, model, train
from mlp_mx.data import ArrayLoader
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
    calls = collections.deque()  # a list would be read, so that a change is followed

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
    (swallowed, "reads an array's values"), (changed_in_place, "other results"),
    (random_in_any_mode, "random numbers"),
    (constant, "a constant"), (branch, "reads an array's values"), (silenced, "a constant"),
    (nd.shuffle, "non-differentiable"), (dropout, "random numbers"),
    (no_result, "does not return one NDArray"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_traced_runs_as_written(function, reason):
    def own(X):
        return function(X)

    traced = fast.traced(own)
    X = nd.array(np.arange(1, 300).reshape(-1, 1) * np.ones(3))
    fast.traced(nd.Dropout)(X)  # which has the tape of random_in_any_mode, and does nothing here
    with pytest.warns(UserWarning, match=f"^own .*{reason}.*, so it runs as written"):
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
    traced = fast.traced(lambda X: X - a)  # what it reads may be an argument, too
    assert traced(a) == 0 and traced(b) == 1


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
    with pytest.warns(UserWarning, match="step .* runs as written"):
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
    with pytest.raises(InputError, match=r"^block, line .*: cannot multiply \(2, 3\) by \(4, 3\)"):
        fast.traced(block)(nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(3))
    with pytest.raises(InputError, match=r"shapes \(2, 3\), \(4, 3\), \(3,\)$"):
        fast.traced(lambda X, layer: block(X, *layer))(
            nd.ones((2, 3)), (nd.ones((4, 3)), nd.ones(3)))


def test_rounding_in_a_large_network_does_not_keep_it_from_being_traced():
    """Of two million inputs of relu, some are so close to 0 that their signs depend on rounding."""
    params = with_gradients(model.init_params(num_hidden=1024, seed=0))
    loss = fast.traced(lambda X, y, params: model.softmax_cross_entropy(model.net(X, params), y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (9, 15):  # which are such cases on some CPUs
            random = np.random.RandomState(seed)
            X = nd.array(random.uniform(0, 1, (1024, 784)))
            y = nd.one_hot(nd.array(random.randint(0, 10, 1024)), 10)
            with fast.packed(params) as packed, fast.checking("this call"), autograd.record():
                loss(X, y, packed)


def test_gradients_that_cancel_do_not_keep_a_net_from_being_traced():
    """A bias before the batch's mean is subtracted has no gradient, but for rounding."""
    @fast.traced
    def net(X, params):
        W1, b1, W2, b2 = params
        h1 = nd.dot(X, W1) + b1
        return nd.softmax(nd.dot(nd.relu(h1 - h1.mean(axis=0, keepdims=True)), W2) + b2)

    random = np.random.RandomState(6)
    params = [nd.array(random.normal(0, 0.1, shape)) for shape in ((64, 32), 32, (32, 10), 10)]
    with warnings.catch_warnings(), autograd.record():
        warnings.simplefilter("error")
        net(nd.array(random.uniform(size=(100, 64))), params)


SCALE = 2


class Settings:
    scale = 2


def scaled_by(kind):
    """A function of X that reads a number from somewhere, and a function that changes it."""
    settings, listed, scale, here = {"scale": 2}, [2], 2, Settings()

    def of_global(X):
        return X * SCALE

    def of_closure(X):
        return X * scale

    def set_closure(value):
        nonlocal scale
        scale = value

    def of_default(X, scale=2):
        return X * scale

    def helper(X):
        return X * SCALE

    return {
        "global": (of_global, lambda value: globals().update(SCALE=value)),
        "closure": (of_closure, set_closure),
        "default": (of_default, lambda value: setattr(of_default, "__defaults__", (value,))),
        "attribute": (lambda X: X * here.scale, lambda value: setattr(here, "scale", value)),
        "class": (lambda X: X * Settings.scale, lambda value: setattr(Settings, "scale", value)),
        "dict": (lambda X: X * settings["scale"], lambda value: settings.update(scale=value)),
        "list": (lambda X: X * listed[0], lambda value: listed.__setitem__(0, value)),
        "function": (lambda X: helper(X), lambda value: globals().update(SCALE=value)),
        "partial": (functools.partial(lambda here, X: X * here.scale, here),
                    lambda value: setattr(here, "scale", value)),
    }[kind]


@pytest.mark.parametrize("kind", ["global", "closure", "default", "attribute", "class", "dict",
                                  "list", "function", "partial"])
def test_a_graph_follows_what_its_function_reads(kind):
    function, change = scaled_by(kind)
    traced, X = fast.traced(function), nd.array([1, 2])
    try:
        for value in (2, 3, 2, 0.5, 3):
            change(value)
            assert traced(X).asnumpy().tolist() == [value, 2 * value]
    finally:
        change(2)


def test_a_counter_counts_and_a_replaced_function_is_followed(monkeypatch):
    calls = {"count": 0}

    def net(X):
        calls["count"] += 1
        return X + calls["count"]

    traced, X = fast.traced(net), nd.zeros(1)
    with pytest.warns(UserWarning, match="net was called with .* combinations"):
        for _ in range(12):  # each is another graph, until there are too many
            assert traced(X) == calls["count"]
    traced = fast.traced(lambda X: model.relu(X))
    assert traced(nd.array([-1])) == 0
    monkeypatch.setattr(model, "relu", nd.negative)
    assert traced(nd.array([-1])) == 1


def test_what_no_key_sees_is_noticed_in_a_late_call():
    state = iter([1] + [2] * 100)
    traced = fast.traced(lambda X: X * next(state))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [float(traced(nd.ones(1)).asscalar()) for _ in range(20)]
    assert results[0] == 1 and results[-1] == 2
    assert re.search("other results than its graph in call .* may be wrong", str(caught[0].message))
    traced = fast.traced(lambda X: X * np.random.uniform())
    traced(nd.ones(1))
    with pytest.warns(UserWarning, match="than its graph in batch 7 of epoch 1"):
        with fast.checking("batch 7 of epoch 1"):
            traced(nd.ones(1))


def test_nan_in_the_first_batch_does_not_hide_what_a_function_changes():
    @fast.traced
    def clipped(X):
        with autograd.pause():
            X[:] = nd.clip(X, -1, 1)
        return X * 2

    X = nd.array([np.nan, 5, -7])
    with pytest.warns(UserWarning, match="clipped gives other results as a graph"):
        clipped(X)
    np.testing.assert_array_equal(clipped(nd.array([np.nan, 5, -7])).asnumpy(), [np.nan, 2, -2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            fast.traced(lambda X: nd.log(X))(nd.array([-1, 0, 1])).asnumpy(), [np.nan, -np.inf, 0])


@pytest.mark.parametrize("function", [
    lambda X: X.flatten(), lambda X: X.flatten() + 0, lambda X: nd.dot(X.flatten(), X),
])
def test_a_result_shares_no_memory_with_an_argument(function):
    X, traced = nd.ones((2, 2)), fast.traced(function)
    for _ in range(3):
        result = traced(X)
        result[:] = 7
        assert (X == 1).asnumpy().all()


@pytest.mark.parametrize("arguments", [
    (2,), (0.0,), (-0.0,), (float("nan"),), ("tanh",), (None,), ({"a": 1, "b": [2, 3]},),
    ([[1, 2], (3,)],), (np.float32(2),), (True,),
])
def test_arguments_that_are_no_arrays_belong_to_the_key(arguments):
    seen = collections.deque()

    def function(X, *others, scale=1):
        seen.append(others)
        return X * scale + len(repr(others))

    traced, X = fast.traced(function), nd.ones(2)
    for each in (arguments, (1,), arguments):
        for scale in (1, 3):
            expected = function(X, *each, scale=scale)
            assert (traced(X, *each, scale=scale) == expected).asnumpy().all()
    assert repr(seen[1]) == repr(arguments)
    assert len(seen) == 6 + 4  # as written six times, and traced four


def test_numpy_and_np_arrays_run_as_written():
    for array, name in ((np.ones(2), "numpy.ndarray"), (mx.np.ones(2), "mxnet.numpy.ndarray")):
        def twice(array):
            return array * 2

        with pytest.warns(UserWarning, match=f"twice takes an array of type {name}"):
            assert (fast.traced(twice)(array) == 2).all()


def test_many_shapes_are_computed_as_written_with_one_warning():
    calls = []

    def function(X):
        calls.append(X.shape)
        return X * 2

    traced = fast.traced(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in range(1, 101):
            assert traced(nd.ones(size)).asnumpy().tolist() == [2] * size
    assert len(caught) == 1 and len(calls) == 100


def test_memory_goes_with_the_function(python):
    program = (
        "import resource, sys; from mlp_mx import fast; from mlp_mx.runtime import nd\n"
        "X = nd.ones((1500, 1500))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for number in range(30):\n"
        "    fast.traced(lambda X: nd.dot(X, X) + nd.tanh(X))(X).wait_to_read()\n"
        "    start = peak() if number == 3 else start if number > 3 else 0\n"
        "print(peak() - start)\n")
    result = python("-c", program)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 60_000  # kB; 30 graphs would be 270 000 and more


def test_a_function_may_wait_for_a_thread_that_traces():
    def own(X):
        results = []
        thread = threading.Thread(target=lambda: results.append(fast.traced(nd.tanh)(nd.ones(2))))
        thread.start()
        thread.join(timeout=20)
        assert results and not thread.is_alive()
        return 2 * X

    assert fast.traced(own)(nd.ones(3)).asnumpy().tolist() == [2, 2, 2]


def test_state_is_restored_after_exceptions():
    class Own(Exception):
        pass

    def fails(X):
        raise Own

    for _ in range(2):
        with pytest.raises(Own):
            fast.traced(fails)(nd.ones(2))
        with pytest.raises(Own), fast.packed(model.init_params(4, 3, 2, seed=0)) as packed:
            with autograd.record():
                fast.traced(model.net)(nd.ones((2, 4)), packed)
            raise Own
    assert nd.ones(1).asscalar() == 1 and not autograd.is_recording()
    assert fast.traced(nd.tanh)(nd.ones(2)).shape == (2,)


def test_tracing_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("MLP_MX_TRACE", "0")
    assert fast.traced(model.net) is model.net
    params = model.init_params(4, 3, 2, seed=0)
    with fast.packed(params) as packed:
        assert [*packed] == params


def test_a_function_is_not_blamed_for_its_arguments_error():
    broken = nd.linalg.potrf(nd.zeros((2, 2)) - 1)
    traced = fast.traced(lambda X: X * 2)
    with pytest.raises(mx.MXNetError, match="potrf"):
        traced(broken).asnumpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert traced(nd.ones((2, 2)))[0, 0] == 2


# Packed parameters


def step(net, loss, params, batch, update=train.SGD):
    """One step of the loop; the losses."""
    X, y = batch
    with autograd.record():
        losses = loss(net(X, params), y)
    losses.backward()
    update(params, 0.01)
    return losses.asnumpy()


@pytest.fixture
def three_batches(case):
    params, X, label = case
    X, y = X.reshape((100, -1)), nd.one_hot(label, 10)
    return params, with_gradients(params), [(X[i:i + 32], y[i:i + 32]) for i in (0, 32, 64)]


def assert_alike(found, expected):
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-4, atol=1e-6)


def read_one(params, lr):
    params[0].asnumpy()
    train.SGD(params, lr)


def shrink_first(params, lr):
    train.SGD(params, lr)
    params[0][:] = 0.9 * params[0]


def written_out(params, lr):
    for param in params:
        param[:] = param - lr * param.grad


@pytest.mark.parametrize("update", [train.SGD, read_one, shrink_first, written_out])
@pytest.mark.parametrize("net", [fast.traced(model.net), model.net], ids=["traced", "as written"])
@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.filterwarnings("ignore:packed parameters are used one by one")
def test_packed_parameters_train_as_others_do(three_batches, net, update, is_told):
    params, expected, batches = three_batches
    loss = fast.traced(model.softmax_cross_entropy)
    with fast.packed(params, update if is_told else None) as packed:
        for batch in batches:
            np.testing.assert_allclose(
                step(net, loss, packed, batch, update),
                step(model.net, model.softmax_cross_entropy, expected, batch, update), rtol=1e-4)
    assert_alike(params, expected)
    assert_alike([param.grad for param in params], [param.grad for param in expected])


@pytest.mark.parametrize("is_traced", [True, False])
def test_the_books_net_of_globals_trains_inside_packed(three_batches, is_traced):
    params, expected, batches = three_batches
    W1, b1, W2, b2, W3, b3 = params

    def net(X):
        h1 = model.relu(nd.dot(X, W1) + b1)
        h2 = model.relu(nd.dot(h1, W2) + b2)
        return nd.dot(h2, W3) + b3

    own = fast.traced(net) if is_traced else net
    loss = fast.traced(model.softmax_cross_entropy)
    with warnings.catch_warnings(), fast.packed(params) as packed:
        warnings.simplefilter("error" if is_traced else "ignore")
        for batch in batches:
            step(lambda X, _: own(X), loss, packed, batch)
            step(model.net, model.softmax_cross_entropy, expected, batch)
    assert_alike(params, expected)


@pytest.mark.filterwarnings("ignore")
def test_parameters_used_by_a_graph_and_one_by_one_in_one_step(three_batches):
    params, expected, batches = three_batches
    net, loss = fast.traced(model.net), model.softmax_cross_entropy
    with fast.packed(params) as packed:
        for batch in batches:
            step(lambda X, params: net(X, params) + nd.sum(params[0]) * 1e-3, loss, packed, batch)
            step(lambda X, params: model.net(X, params) + nd.sum(params[0]) * 1e-3, loss, expected,
                 batch)
    assert_alike(params, expected)


def test_evaluation_and_other_blocks_inside_packed_see_trained_parameters(three_batches):
    params, expected, batches = three_batches
    net, loss = fast.traced(model.net), fast.traced(model.softmax_cross_entropy)
    data = [(batches[0][0], nd.argmax(batches[0][1], axis=1))]
    others = model.init_params(num_hidden=37, seed=1)
    with fast.packed(params) as packed, fast.packed(others):
        for batch in batches:
            step(net, loss, packed, batch)
            step(model.net, model.softmax_cross_entropy, expected, batch)
            accuracy = train.evaluate_accuracy(data, expected)
            assert train.evaluate_accuracy(data, packed) == accuracy
            assert train.evaluate_accuracy(data, params) == accuracy
            with fast.packed(params) as again:
                np.testing.assert_allclose(net(batch[0], again).asnumpy(),
                                           model.net(batch[0], expected).asnumpy(), rtol=1e-4,
                                           atol=1e-6)
    assert_alike(params, expected)


def test_overlapping_parameters_train_as_they_are(three_batches):
    _, _, (batch, *_) = three_batches

    def views():
        whole = nd.array(np.random.RandomState(0).normal(0, 0.1, (784 * 10 + 10,)))
        params = [whole[:7840].reshape((784, 10)), whole[7835:7845]]
        for param in params:
            param.attach_grad()
        return params

    def net(X, params):
        return nd.dot(X, params[0]) + params[1]

    params, expected = views(), views()
    with fast.packed(params) as packed:
        step(fast.traced(net), model.softmax_cross_entropy, packed, batch)
    step(net, model.softmax_cross_entropy, expected, batch)
    assert_alike(params, expected)


def test_training_gives_back_what_an_interrupted_epoch_reached(case):
    """The parameters, and the gradients of the last batch."""
    params, X, label = case
    literal = with_gradients(params)

    def batches():
        for _ in range(3):
            yield X, label
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(train.fit(params, batches(), [(X, label)]))
    for _ in range(3):
        chapter.step(X, label, literal, 0.001)
    assert_alike(params, literal)


def test_parameters_written_between_epochs_are_used(case):
    params, X, label = case
    loader = ArrayLoader(X, label, 64)
    epochs = train.fit(params, loader, loader, epochs=3, learning_rate=0.001)
    next(epochs)
    for param in params:
        param[:] = 0
    assert next(epochs).loss == pytest.approx(np.log(10), rel=0.01)  # all classes are alike


def test_training_works_on_another_context_than_the_datas(case):
    params, X, label = case
    elsewhere = with_gradients([param.as_in_context(mx.cpu(1)) for param in params])
    batches = [(X, label)] * 2
    assert next(train.fit(params, batches, batches))[:4] == next(
        train.fit(elsewhere, batches, batches))[:4]
    for a, b in zip(params, elsewhere):
        assert b.context == mx.cpu(1)
        assert (a.asnumpy() == b.asnumpy()).all()


# Random functions

STEPS = (
    lambda r, x, W: nd.dot(x, W), lambda r, x, W: x * W[:1], lambda r, x, W: x + W[0],
    lambda r, x, W: nd.relu(x), lambda r, x, W: nd.tanh(x), lambda r, x, W: x.flatten(),
    lambda r, x, W: x.reshape((1, -1)).reshape(x.shape), lambda r, x, W: x * r,
    lambda r, x, W: nd.dot(x, W, transpose_b=True),
    lambda r, x, W: x - x.mean(axis=0, keepdims=True),
    lambda r, x, W: nd.concat(x[:1], x[1:], dim=0), lambda r, x, W: nd.dot(x, W) + W[0],
)


def random_function(random):
    chosen = [(STEPS[random.randint(len(STEPS))], random.uniform(-1, 1), random.randint(3))
              for _ in range(random.randint(1, 7))]

    def function(X, params):
        for step, number, which in chosen:
            X = step(number, X, params[which])
        return X

    return function


@pytest.mark.parametrize("seed", range(int(os.environ.get("MLP_MX_FUNCTIONS", 60))))
@pytest.mark.filterwarnings("ignore:function (returns one of|cannot be a graph)")
def test_random_functions_train_as_they_are_written(seed):
    random = np.random.RandomState(seed)
    function, traced = (random_function(np.random.RandomState(seed)) for _ in range(2))
    traced = fast.traced(traced)
    reqs = random.choice(["write", "add", "null"], 3, p=[0.7, 0.15, 0.15])
    values = [nd.array(random.normal(0, 0.4, (6, 6))) for _ in reqs]
    params, expected = ([value.copy() for value in values] for _ in range(2))
    for one, other, req in zip(params, expected, reqs):
        one.attach_grad(grad_req=req)
        other.attach_grad(grad_req=req)
    with fast.packed(params) as packed:
        for size in (3, 3, 5, 3):
            X = nd.array(random.normal(size=(size, 6)))
            for one, net in ((packed, traced), (expected, function)):
                with autograd.record():
                    result = (net(X, one) ** 2).sum() + nd.sum(X) * 0
                if result is not None and any(req != "null" for req in reqs):
                    try:
                        result.backward()
                    except mx.MXNetError:  # nothing in it needs a gradient
                        continue
                    train.SGD(one, 0.01)
            np.testing.assert_allclose(traced(X, packed).asnumpy(),
                                       function(X, expected).asnumpy(), rtol=1e-3, atol=1e-5)
    assert_alike(params, expected)

"""Graphs and packed parameters against the functions and the loops as they are written."""

import collections
import contextlib
import copy
import functools
import gc
import os
import pathlib
import threading
import warnings

import numpy as np
import pytest

import chapter
from mlp_mx import InputError, data, fast, model, train
from mlp_mx.runtime import autograd, gluon, mx, nd


def with_gradients(params):
    """Copies, to be trained on their own."""
    copies = [param.copy() for param in params]
    for param in copies:
        param.attach_grad()
    return copies


@pytest.fixture
def case():
    """Parameters and a batch."""
    random = np.random.RandomState(4)
    X = nd.array(random.uniform(0, 1, (100, 784)))
    label = nd.array(random.randint(0, 10, 100))
    return model.init_params(num_hidden=37, weight_scale=0.05, seed=5), X, label


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numbers(*values):
    return nd.array(np.array(values, "float32"))


def assert_alike(found, expected, atol=1e-6):
    for one, right in zip(found, expected):
        np.testing.assert_allclose(one.asnumpy(), right.asnumpy(), rtol=1e-5, atol=atol)


def block(X, W, b):
    return nd.tanh(nd.dot(X, W) + b) * 2 - X[:, :1]


def gradients(function, arrays):
    arrays = with_gradients(arrays)
    with autograd.record():
        result = function(*arrays)
        result = result ** 2  # it may be a step of more
    result.backward()
    return [result, *(array.grad for array in arrays)]


# What `traced` computes

def test_traced_computes_the_same_and_runs_python_once_per_shape():
    calls = collections.deque()  # a list would belong to what the function reads

    @fast.traced
    def traced(X, W, b):
        calls.append(X.shape)
        return block(X, W, b)

    random = np.random.RandomState(2)
    W, b = nd.array(random.normal(size=(5, 3))), nd.array(random.normal(size=3))
    for size in (4, 4, 7, 4):
        X = nd.array(random.normal(size=(size, 5)))
        assert_alike(gradients(traced, [X, W, b]), gradients(block, [X, W, b]))
        assert_alike([traced(X, W, b)], [block(X, W, b)])
    assert sorted(calls) == [(4, 5)] * 2 + [(7, 5)] * 2  # with gradients, and without


def test_traced_leaves_gradients_alone():
    params = model.init_params(num_inputs=6, num_hidden=4, num_outputs=3, weight_scale=1, seed=0)
    for param in params:
        param.grad[:] = 7
    X = nd.array(np.random.RandomState(3).normal(size=(5, 6)))
    with autograd.record():
        logits = fast.traced(model.net)(X, params)
    assert all((param.grad == 7).asnumpy().all() for param in params)
    assert_alike([logits], [model.net(X, params)])


@pytest.mark.parametrize("argument", [
    2, 0.5, True, "relu", None, {"scale": 3}, [[1, 2], [3]], (4,), np.float32(2)], ids=repr)
def test_arguments_that_are_no_arrays_belong_to_the_key(argument, no_warning):
    def own(X, extra, *, bias=1, layers=()):
        for layer in layers:
            X = X * layer
        return X * len(repr(extra)) + bias

    traced, X = fast.traced(own), numbers(1, 2)
    for args, kwargs in [((X, argument), {}), ((X, 7), {}), ((X, argument), {"bias": 5}),
                         ((X,), {"extra": argument}), ((X, argument), {"layers": [X, X + 1]}),
                         ((X, argument), {"layers": [X]}), ((X, argument), {})]:
        assert_alike([traced(*args, **kwargs)], [own(*args, **kwargs)])


def test_arrays_in_dicts_and_nested_lists(no_warning):
    def own(batch, layers):
        return batch["X"] * layers[0][1] - layers[1]

    a, b, c = numbers(1, 2), numbers(3, 4), numbers(5, 6)
    traced = fast.traced(own)
    for X in (a, b):
        assert_alike([traced({"X": X}, [(b, c), a])], [own({"X": X}, [(b, c), a])])
        assert_alike([traced({"X": X}, [(c, b), a])], [own({"X": X}, [(c, b), a])])


def numpy_argument(X):
    return fast.traced(lambda X, values: X * nd.array(values)), [X, np.array([1, 2, 3])]


def mx_np_argument(X):
    return fast.traced(lambda X: X * 2), [X.as_np_ndarray()]


@pytest.mark.parametrize("case", [numpy_argument, mx_np_argument])
def test_other_arrays_run_as_written_with_one_warning(case):
    traced, args = case(numbers(1, 2, 3))
    with pytest.warns(UserWarning, match="takes an array of type (numpy|mxnet.numpy)") as record:
        results = [traced(*args).asnumpy() for _ in range(3)]
    assert len(record) == 1
    np.testing.assert_array_equal(results, [[1, 4, 9] if len(args) > 1 else [2, 4, 6]] * 3)


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
    (swallowed, "reads an array's values"), (changed_in_place, "different results"),
    (random_in_any_mode, "random numbers"),
    (constant, "not among"), (branch, "reads an array's values"), (silenced, "not among"),
    (nd.shuffle, "non-differentiable"), (dropout, "random numbers"),
    (no_result, "does not return one NDArray"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_traced_runs_as_written(function, reason):
    def own(X):
        return function(X)

    traced = fast.traced(own)
    X = nd.array(np.arange(1, 300).reshape(-1, 1) * np.ones(3))
    fast.traced(nd.Dropout)(X)  # which has the tape of random_in_any_mode, and does nothing here
    with pytest.warns(UserWarning, match=f"own .*{reason}.* runs as written"):
        first = traced(X)
    assert traced.runs_as_written()
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


def test_the_reason_is_this_functions():
    with pytest.raises(Exception, match="[Ss]hape"):
        nd.dot(nd.ones((2, 3)), nd.ones((2, 3))).asnumpy()
    with autograd.record():
        failed = nd.ones(3)
        failed.attach_grad()
        with pytest.raises(Exception):
            nd.dot(failed, nd.ones(2)).asnumpy()
    with pytest.warns(UserWarning, match="branch prints or reads an array's values"):
        fast.traced(functools.partial(branch))(numbers(1, 2))


def test_nan_in_the_batch_that_a_graph_is_compared_on():
    def clips(X):
        with autograd.pause():
            X[:] = nd.clip(X, -1, 1)
        return X * 2

    def follows(X):
        return X * 2

    poisoned, X = numbers(np.nan, 1, 5), numbers(3, 4, 5)
    traced = fast.traced(clips)
    with pytest.warns(UserWarning, match="different results"):
        assert traced(poisoned).asnumpy()[2] == 2
    assert_alike([traced(X)], [numbers(2, 2, 2)])
    traced, X = fast.traced(follows), numbers(3, 4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced(poisoned)
        assert_alike([traced(X)], [numbers(6, 8, 10)])


def test_a_result_is_no_view_of_an_argument():
    X = nd.ones((2, 3))
    for function in (lambda X: X.flatten(), lambda X: X.reshape((2, 3)), lambda X: X[:],
                     lambda X: nd.identity(X), lambda X: X.flatten() * 1, lambda X: X):
        result = fast.traced(function)(X) if function(X) is not X else X.copy()
        result[:] = 9
        assert (X == 1).asnumpy().all()


# What a function reads from its surroundings

factor, settings, switches = 2, {"scale": 2, "steps": [1, 2]}, [1]


def helper(X):
    return X * 2


def reads_global(X):
    return X * factor


def reads_dict(X):
    return X * settings["scale"] + settings["steps"][1]


def reads_list(X):
    return X * switches[0]


def calls_helper(X):
    return helper(X)


@pytest.mark.parametrize("function, change", [
    (reads_global, lambda patch: patch.setitem(globals(), "factor", 3)),
    (reads_dict, lambda patch: patch.setitem(settings, "scale", 3)),
    (reads_dict, lambda patch: settings["steps"].__setitem__(1, 3)),
    (reads_list, lambda patch: switches.__setitem__(0, 3)),
    (calls_helper, lambda patch: patch.setitem(globals(), "helper", lambda X: X + 3)),
    (calls_helper, lambda patch: patch.setattr(helper, "__code__", (lambda X: X + 7).__code__)),
], ids=range(6))
def test_a_graph_follows_what_is_read(function, change, monkeypatch, no_warning):
    for name in "settings", "switches":
        monkeypatch.setitem(globals(), name, copy.deepcopy(globals()[name]))
    traced, X = fast.traced(function), numbers(1, 2)
    before = traced(X)
    assert_alike([before], [function(X)])
    with monkeypatch.context() as patch:
        change(patch)
        assert (function(X) != before).asnumpy().all()
        assert_alike([traced(X)], [function(X)])


def test_a_graph_follows_closures_and_defaults(no_warning):
    def outer(scale):
        def own(X, power=2):
            return scale * X ** power

        def set_scale(value):
            nonlocal scale
            scale = value

        return own, set_scale

    own, set_scale = outer(2)
    traced, X = fast.traced(own), numbers(1, 2)
    for change in (lambda: None, lambda: set_scale(5),
                   lambda: setattr(own, "__defaults__", (3,))):
        change()
        assert_alike([traced(X)], [own(X)])


class Layer:
    kind = 1

    def __init__(self):
        self.scale, self.inner, self.is_training = 2, [1, {"shift": 3}], False

    def __call__(self, X):
        return self.forward(X) * self.kind

    def forward(self, X):
        result = X * self.scale + self.inner[1]["shift"]
        return result + 10 if self.is_training else result


def test_a_graph_follows_attributes(monkeypatch, no_warning):
    layer, X = Layer(), numbers(1, 2)
    for traced in (fast.traced(layer), fast.traced(layer.forward),
                   fast.traced(lambda X: layer(X)), fast.traced(functools.partial(layer))):
        with monkeypatch.context() as patch:
            own = layer.forward if traced.__wrapped__ == layer.forward else layer
            for change in (lambda: None, lambda: patch.setattr(layer, "scale", 5),
                           lambda: patch.setitem(layer.inner[1], "shift", 7),
                           lambda: patch.setattr(layer, "is_training", True),
                           lambda: patch.setattr(Layer, "kind", 2),
                           lambda: patch.setattr(Layer, "forward", lambda self, X: X * 100)):
                change()
                assert_alike([traced(X)], [own(X)])


class Scaled:
    __slots__ = "kept"

    def __init__(self):
        self.kept = 2

    @property
    def scale(self):
        return self.kept


def scaled_by(layer, X):
    return X * layer.scale


def test_a_graph_follows_properties_slots_and_objects_given_to_helpers(no_warning):
    layer, X = Scaled(), numbers(1, 2)
    traced = fast.traced(lambda X: scaled_by(layer, X))
    for layer.kept in (2, 5):
        assert_alike([traced(X)], [X * layer.kept])


class Block(gluon.HybridBlock):
    scale = 2

    def hybrid_forward(self, F, X):
        return X * self.scale


def test_a_graph_follows_gluon_blocks_and_operators(no_warning):
    one, inner, X = Block(), Block(), numbers(1, 2)
    outer = gluon.nn.HybridSequential()
    outer.add(inner)

    class Shift:
        by = 3

        def __add__(self, X):
            return X + self.by

    shift = Shift()
    functions = [one, outer, lambda X: shift + X]
    all_traced = [*map(fast.traced, functions)]
    for value in (2, 5, 7):
        one.scale = inner.scale = shift.by = value
        for traced, function in zip(all_traced, functions):
            assert_alike([traced(X)], [function(X)])


def test_a_graph_follows_numpy_arrays_and_other_dicts(no_warning):
    values, named, X = np.array([2., 3.]), collections.OrderedDict(scale=2), numbers(1, 2)
    traced = fast.traced(lambda X: X * float(values[0]) * named["scale"])
    assert_alike([traced(X)], [X * 4])
    values[0] = 5
    assert_alike([traced(X)], [X * 10])
    named["scale"] = 3
    assert_alike([traced(X)], [X * 15])


def test_a_global_of_an_attributes_name_is_not_read(no_warning):
    calls = collections.deque()
    space = {"calls": calls, "layer": Layer(), "scale": 0}
    exec("def own(X):\n    calls.append(1)\n    return X * layer.scale", space)
    traced = fast.traced(space["own"])
    for space["scale"] in range(5):
        traced(numbers(1, 2))
    assert len(calls) == 1


def test_a_counter_that_changes_runs_as_written_or_follows():
    state = {"calls": 0}

    def own(X):
        state["calls"] += 1
        return X * state["calls"]

    traced, X = fast.traced(own), numbers(1, 2)
    with pytest.warns(UserWarning) as record:
        results = [traced(X).asnumpy()[0] for _ in range(30)]
    assert len(record) == 1
    assert results[-1] > results[-2] > results[-3]  # as written, a call adds one


def test_random_numbers_of_python_are_noticed_at_a_later_comparison():
    def own(X):
        return X * generator.uniform()

    generator, X = np.random.RandomState(0), numbers(1, 2)
    traced = fast.traced(own)
    results = [traced(X).asnumpy()[0] for _ in range(9)]
    with pytest.warns(UserWarning, match="different results from its graph in call 10 "):
        later = [traced(X).asnumpy()[0] for _ in range(5)]
    assert len({*results}) == 1 and len({*later}) == 5

    traced = fast.traced(lambda X: X * generator.uniform())
    traced(X)
    with pytest.warns(UserWarning, match="different results from its graph in batch 7"):
        with fast.checking("batch 7"):
            traced(X)


def test_a_gradient_that_stops_is_noticed_at_a_later_comparison(monkeypatch):
    def own(X, W):
        return X * (W.detach() if os.environ.get("MLP_MX_TEST_STOP") else W)

    X, W = numbers(1, 2), numbers(3, 4)
    X.attach_grad()
    W.attach_grad()
    traced = fast.traced(own)
    with autograd.record():
        traced(X, W)
    monkeypatch.setenv("MLP_MX_TEST_STOP", "1")
    with pytest.warns(UserWarning, match="different results from its graph in batch 7"):
        with fast.checking("batch 7"), autograd.record():
            result = traced(X, W)
    result.backward()
    assert_alike([X.grad, W.grad], [numbers(3, 4), numbers(0, 0)])


def test_what_agrees_is_compared_ever_more_rarely(no_warning):
    calls, executed = collections.deque(), collections.deque()

    def own(X):
        calls.append(len(executed))
        return X * 2

    traced = fast.traced(own)
    for _ in range(300):
        executed.append(traced(numbers(1, 2)))
    assert [*calls] == [0, 9, 99]


# Shapes, switches, memory, threads

def test_a_storm_of_shapes_gives_one_warning():
    calls = collections.deque()  # a list would belong to what the function reads

    def own(X):
        calls.append(X.shape)
        return X * 2 + 1

    traced = fast.traced(own)
    with pytest.warns(UserWarning, match="own was called with .* combinations") as record:
        for size in range(1, 101):
            assert_alike([traced(nd.ones(size))], [nd.ones(size) * 3])
    assert len(record) == 1 and len(calls) == 100  # each by a trace or as written, never both
    assert not traced.runs_as_written()
    traced(nd.ones(1))
    assert len(calls) == 100  # the first shapes have graphs still


def test_the_switch_off(monkeypatch, case):
    monkeypatch.setenv("MLP_MX_TRACE", "0")
    params, X, _ = case
    assert fast.traced(block) is block
    with fast.packed(params) as packed:
        assert all(one is param for one, param in zip(packed, params))


def resident_megabytes():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="no /proc")
@pytest.mark.slow
def test_the_memory_of_a_dropped_function_is_freed():
    def one(big):
        def own(X):
            return nd.relu(X * 2) + 1 - nd.abs(X)

        fast.traced(own)(big).wait_to_read()

    big = nd.ones((1000, 1000))
    for _ in range(3):
        one(big)
    gc.collect()
    before = resident_megabytes()
    for _ in range(30):
        one(big)
        gc.collect()
    assert resident_megabytes() - before < 130  # each has 9, and the system keeps what is freed


@pytest.mark.parametrize("size, fewest, most", [(10 ** 6, 9, 11), (10, 0, 1)])
def test_python_runs_ahead_of_the_device_by_few_megabytes(size, fewest, most, monkeypatch):
    traced, X = fast.traced(lambda X: X * 2), nd.ones(size)
    waits, wait = [], nd.NDArray.wait_to_read
    for _ in range(11):  # one of which is compared
        traced(X)
    monkeypatch.setattr(nd.NDArray, "wait_to_read", lambda array: waits.append(wait(array)))
    for _ in range(30):
        traced(X)
    assert fewest <= len(waits) <= most  # one for three million numbers


def run_in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return found[0]


def test_other_threads_read_arrays_and_trace_while_a_function_is_traced():
    read = []

    def own(X):
        read.append(run_in_thread(lambda: nd.ones(1).asscalar()))
        read.append(run_in_thread(lambda: fast.traced(lambda X: X * 3)(nd.ones(1)).asscalar()))
        return 2 * X

    assert run_in_thread(lambda: fast.traced(own)(nd.ones(3)).asnumpy().tolist()) == [2, 2, 2]
    assert read == [1, 3]


def test_threads_share_a_traced_function():
    traced, X = fast.traced(block), nd.ones((4, 5))
    W, b = nd.ones((5, 3)), nd.ones(3)
    expected, found = block(X, W, b).asnumpy(), []
    threads = [threading.Thread(target=lambda: found.extend(
        traced(X, W, b).asnumpy() for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, [expected] * 80, rtol=1e-5)


def test_a_traced_function_may_call_another(no_warning):
    @fast.traced
    def layer(X, W, b):
        return nd.relu(nd.dot(X, W) + b)

    def net(X, params):
        W1, b1, W2, b2, W3, b3 = params
        return nd.dot(layer(layer(X, W1, b1), W2, b2), W3) + b3

    params, X = model.init_params(6, 4, 3, 1, seed=0), nd.ones((5, 6))
    assert_alike([fast.traced(net)(X, params)], [model.net(X, params)])


def test_packed_inside_a_function_that_is_traced(case, no_warning):
    params, X, _ = case

    def own(X, params):
        with fast.packed(params) as inner:
            return model.net(X, inner)

    assert_alike([fast.traced(own)(X, params)], [model.net(X, params)])
    assert_alike([fast.traced(own)(-X, params)], [model.net(-X, params)])


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_a_trace_leaves_everything_as_it_was(error, case):
    params, X, label = case

    def own(X, params):
        with fast.packed(params) as inner:
            model.net(X, inner)
            raise error

    asnumpy = nd.NDArray.asnumpy
    kept = [param.copy() for param in params]
    with fast.packed(params) as packed:
        with pytest.raises(error), autograd.record():
            fast.traced(own)(X, packed)
        assert nd.NDArray.asnumpy is asnumpy
        assert not autograd.is_recording() and not autograd.is_training()
    assert_alike(params, kept)
    test_traced_computes_the_same_and_runs_python_once_per_shape()


def test_traced_raises_what_is_wrong_with_its_arguments():
    with pytest.raises(InputError, match=r"block, line \d+, .*cannot multiply .*\(2, 3\)"):
        fast.traced(block)(nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(3))
    with pytest.raises(InputError, match=r"\(2, 3\), \(4, 3\), \(3,\)"):
        fast.traced(lambda X, layer: block(X, *layer))(
            nd.ones((2, 3)), (nd.ones((4, 3)), nd.ones(3)))


def test_traced_tells_apart_how_arrays_are_passed():
    a, b, c = (nd.array([value]) for value in (1, 2, 4))
    a.attach_grad()  # as a parameter

    def first_minus_second(xs, ys):
        return sum(xs[1:], xs[0]) - sum(ys[1:], ys[0])

    traced = fast.traced(first_minus_second)
    for args in (([a], [a]), ([a], [b]), ([a, b], [c]), ([a], [b, c])):
        assert traced(*args) == first_minus_second(*args)
    traced = fast.traced(lambda X: X - a)
    assert traced(a) == 0
    assert traced(b) == 1


def test_a_function_that_is_traced_leaves_its_arguments_as_one_call_does():
    @fast.traced
    def step(W, d):
        W -= d
        return W * 1

    W = nd.array([10])
    with pytest.warns(UserWarning, match="step .*runs as written"):
        assert step(W, nd.array([1])) == 9 == W


def test_wraps_does_not_mark_another_update_as_elementwise():
    @functools.wraps(train.SGD)
    def update(params, lr):
        train.SGD(params, lr)

    assert fast.is_elementwise(train.SGD) and not fast.is_elementwise(update)


# `packed` in a loop of one's own

def summed(net, X, label, params):
    return model.softmax_cross_entropy(net(X, params), nd.one_hot(label, 10))


def plain(case, num_steps=5, net=model.net):
    """Parameters after some steps of the chapter's loop."""
    params, X, label = case
    params = with_gradients(params)
    for _ in range(num_steps):
        chapter.step(X, label, params, 0.001, net, model.softmax_cross_entropy)
    return params


def assert_trained(params, expected):
    assert_alike(params, expected, atol=1e-6)
    for param, right in zip(params, expected):
        atol = 1e-5 * abs(right.grad.asnumpy()).max()
        assert_alike([param.grad], [right.grad], atol=atol)


def own_loop(case, in_step=lambda number, packed: None, update=train.SGD, net=model.net,
             num_steps=5):
    params, X, label = case
    net = fast.traced(net)
    with fast.packed(params) as packed:
        for number in range(num_steps):
            with autograd.record():
                losses = summed(net, X, label, packed)
            losses.backward()
            update(packed, 0.001)
            in_step(number, packed)


def test_a_loop_of_ones_own_trains_as_the_chapters(case, no_warning):
    own_loop(case)
    assert_trained(case[0], plain(with_fresh(case)))


def with_fresh(case):
    """The case as the fixture made it, since its parameters have been trained."""
    return model.init_params(num_hidden=37, weight_scale=0.05, seed=5), *case[1:]


def read(number, packed):
    if number == 2:
        assert packed[0].shape == (784, 37)
        assert abs(packed[0].asnumpy()).sum() > 0


@pytest.mark.parametrize("options", [
    {"in_step": read}, {"update": chapter.SGD},
    {"in_step": lambda number, packed: [param.asnumpy() for param in packed]},
], ids=["reads params[0]", "a plain SGD", "reads all"])
def test_what_uses_parameters_one_by_one_ends_the_layout(case, options):
    with pytest.warns(UserWarning, match="used one by one") as record:
        own_loop(case, **options)
    assert len(record) == 1
    assert_trained(case[0], plain(with_fresh(case)))


def test_a_value_that_is_written_in_the_block_is_trained(case):
    def in_step(number, packed):
        if number == 2:
            packed[5][:] = 3

    with pytest.warns(UserWarning, match="used one by one"):
        own_loop(case, in_step, num_steps=3)
    assert (case[0][5] == 3).asnumpy().all()


def test_a_net_that_finds_its_parameters_among_the_globals(case, no_warning):
    params, X, label = case

    def net(X):
        return model.net(X, params)

    traced = fast.traced(net)
    with fast.packed(params) as packed:
        for _ in range(5):
            with autograd.record():
                losses = model.softmax_cross_entropy(traced(X), nd.one_hot(label, 10))
            losses.backward()
            train.SGD(packed, 0.001)
    assert_trained(params, plain(with_fresh(case)))


@pytest.mark.parametrize("place", ["before", "after"])
def test_gradients_of_both_kinds_come_together(case, place):
    """A weight decay that reads parameters in the middle of a recorded step."""
    def losses_of(net, X, label, params):
        decay = (lambda: sum((param ** 2).sum() for param in params) * 0.1)
        if place == "before":
            return decay() + summed(net, X, label, params).sum()
        return summed(net, X, label, params).sum() + decay()

    params, X, label = case
    expected = with_gradients(params)
    for _ in range(3):
        with autograd.record():
            losses = losses_of(model.net, X, label, expected)
        losses.backward()
        chapter.SGD(expected, 0.001)
    net = fast.traced(model.net)
    with pytest.warns(UserWarning, match="used one by one"), fast.packed(params) as packed:
        for _ in range(3):
            with autograd.record():
                losses = losses_of(net, X, label, packed)
            losses.backward()
            train.SGD(packed, 0.001)
    assert_trained(params, expected)


def test_packed_again_of_the_same_list(case, no_warning):
    params, X, label = case
    net = fast.traced(model.net)
    with fast.packed(params) as outer:
        for _ in range(5):
            with fast.packed(outer) as inner, autograd.record():
                losses = summed(net, X, label, inner)
            losses.backward()
            with fast.packed(params) as inner:
                train.SGD(inner, 0.001)
    assert_trained(params, plain(with_fresh(case)))


def test_packed_after_an_exception(case):
    params, X, label = case

    def stop(number, packed):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own_loop(case, stop)
    assert_trained(params, plain(with_fresh(case), 3))
    own_loop(case, num_steps=2)
    assert_trained(params, plain(with_fresh(case), 5))


def test_evaluation_inside_the_block(case, no_warning):
    params, X, label = case
    expected, found = [], []
    own_loop(case, lambda number, packed: found.append(
        train.evaluate_accuracy([(X, label)], packed)))
    for number in range(1, 6):
        trained = plain(with_fresh(case), number)
        expected.append(train.evaluate_accuracy([(X, label)], trained))
    assert found == expected and len({*found}) > 1
    assert_trained(params, trained)


def test_two_lists_at_once(case, no_warning):
    params, X, label = case
    others = model.init_params(num_hidden=20, weight_scale=0.05, seed=6)
    expected = [with_gradients(each) for each in (params, others)]

    def train_both(one, other, net, update):
        for _ in range(4):
            with autograd.record():
                losses = model.softmax_cross_entropy(
                    net(X, one) + net(X, other), nd.one_hot(label, 10))
            losses.backward()
            update(one, 0.001)
            update(other, 0.001)

    train_both(*expected, model.net, chapter.SGD)
    with fast.packed(params) as one, fast.packed(others) as other:
        train_both(one, other, fast.traced(model.net), train.SGD)
    assert_trained(params + others, expected[0] + expected[1])


def test_lists_that_share_arrays(case):
    """Training the last layer alone, inside a block of all."""
    params, X, label = case
    expected = with_gradients(params)

    def steps(all_params, some, net, update):
        with autograd.record():
            losses = summed(net, X, label, all_params)
        losses.backward()
        update(some, 0.001)

    for _ in range(3):
        steps(expected, expected[4:], model.net, chapter.SGD)
    net = fast.traced(model.net)
    with fast.packed(params) as packed:
        for _ in range(3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with fast.packed(params[4:]) as some:
                    steps(packed, some, net, train.SGD)
    assert_alike(params, expected)


@pytest.mark.parametrize("overlap", ["twice", "views"])
def test_parameters_that_share_memory_train_as_they_are_written(overlap):
    def make():
        whole = nd.array(np.random.RandomState(0).normal(size=(6, 5)))
        params = [whole, whole] if overlap == "twice" else [whole[:4], whole[2:]]
        for param in params:
            param.attach_grad()
        return params

    def steps(params, function, update):
        for _ in range(3):
            with autograd.record():
                loss = function(params)
            loss.backward()
            update(params, 0.1)

    def function(params):
        return (nd.tanh(params[0]) ** 2).sum() + (params[1] * 3).sum()

    params, expected = make(), make()
    steps(expected, function, chapter.SGD)
    with fast.packed(params) as packed:
        steps(packed, fast.traced(function), train.SGD)
    assert_alike(params, expected)


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("req", ["null", "add"])
def test_requests_for_gradients_are_kept(index, req, no_warning):
    def make():
        params = model.init_params(8, 6, 10, 0.5, seed=1)
        params[index].attach_grad(grad_req=req)
        return params

    random = np.random.RandomState(0)
    X, label = nd.array(random.uniform(size=(9, 8))), nd.array(random.randint(0, 10, 9))
    params, expected = make(), make()
    frozen = params[index].asnumpy()
    for _ in range(2):
        for _ in range(5):
            chapter.step(X, label, expected, 0.001, model.net, model.softmax_cross_entropy,
                         train.SGD)
        own_loop((params, X, label))
    assert_alike(params, expected)
    assert (req == "null") == (params[index].asnumpy() == frozen).all()


# The chapter's loop

def test_train_epoch_gives_back_what_an_interrupted_epoch_reached(case):
    params, X, label = case

    def batches():
        for _ in range(3):
            yield X, label
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), fast.packed(params) as packed:
        train.train_epoch(packed, batches(), 0.001, fast.traced(model.net))
    assert_trained(params, plain(with_fresh(case), 3))


def test_train_epoch_returns_the_summed_loss(case):
    params, X, label = case
    expected = sum(chapter.step(X, label, own, 0.001) for own in [with_gradients(params)]
                   for _ in range(3))
    assert train.train_epoch(params, [(X, label)] * 3, 0.001) == pytest.approx(expected, rel=1e-5)


def test_parameters_written_between_epochs_are_used(case):
    params, X, label = case
    loader = data.ArrayLoader(X, label, 64)
    epochs = train.fit(params, loader, loader, epochs=3, learning_rate=0.001)
    next(epochs)
    for param in params:
        param[:] = 0
    assert next(epochs).loss == pytest.approx(np.log(10), rel=0.01)  # all classes are alike


def test_training_works_on_another_context_than_the_datas(case):
    params, X, label = case
    elsewhere = with_gradients([param.as_in_context(mx.cpu(1)) for param in params])
    records = [next(train.fit(each, [(X, label)] * 2, [(X, label)], epochs=1))
               for each in (params, elsewhere)]
    assert records[0].loss == records[1].loss
    for a, b in zip(params, elsewhere):
        assert b.context == mx.cpu(1)
        assert (a.asnumpy() == b.asnumpy()).all()


def test_rounding_in_a_large_network_does_not_keep_it_from_being_traced(no_warning):
    """Of two million inputs of relu, some are so close to 0 that their signs depend on rounding."""
    params = model.init_params(num_hidden=1024, seed=0)
    for seed in (9, 15):  # which are such cases on some CPUs
        random = np.random.RandomState(seed)
        X = nd.array(random.uniform(0, 1, (1024, 784)))
        own_loop((params, X, nd.array(random.randint(0, 10, 1024))), num_steps=1)


def test_gradients_that_cancel_do_not_keep_a_net_from_being_traced(no_warning):
    """A bias before the batch's mean is subtracted has no gradient, but for rounding."""
    def net(X, params):
        W1, b1, W2, b2 = params
        h1 = nd.dot(X, W1) + b1
        return nd.dot(nd.relu(h1 - h1.mean(axis=0, keepdims=True)), W2) + b2

    random = np.random.RandomState(6)
    params = with_gradients(
        [nd.array(random.normal(0, 0.1, shape)) for shape in ((64, 32), 32, (32, 10), 10)])
    X, label = nd.array(random.uniform(size=(100, 64))), nd.array(random.randint(0, 10, 100))
    own_loop((params, X, label), net=net)


def test_the_bias_beside_a_frozen_weight_gets_its_gradient():
    X, W, b = nd.ones((5, 3)), nd.ones((2, 3)), nd.zeros(2)
    W.attach_grad(grad_req="null")
    b.attach_grad()
    net = fast.traced(lambda X, W, b: nd.FullyConnected(X, W, no_bias=True, num_hidden=2) + b)
    for _ in range(2):
        with autograd.record():
            output = net(X, W, b)
        output.backward()
        assert b.grad.asnumpy().tolist() == [5, 5]


# Random functions, arguments and requests for gradients

NUM_RANDOM = int(os.environ.get("MLP_MX_RANDOM_CASES", 80))
WIDTH = 4


def random_step(random):
    """An operation of an array of WIDTH columns, of the argument and of parameters.

    Not ``FullyConnected`` with a bias: if its weight is frozen, MXNet computes no gradient of that.
    """
    W, V, b = *random.choice([0, 2], size=2), random.choice([1, 3])
    number = random.uniform(0.5, 2)
    return random.choice([
        lambda h, X, p: nd.dot(h, p[W]), lambda h, X, p: nd.dot(h, p[W]) + p[b],
        lambda h, X, p: p[b] + nd.dot(h, p[W]), lambda h, X, p: nd.dot(h, p[W] * p[V]),
        lambda h, X, p: nd.dot(h, p[W].T), lambda h, X, p: nd.dot(h, p[W], transpose_b=True),
        lambda h, X, p: nd.dot(h.flatten(), p[W]) + p[b], lambda h, X, p: nd.dot(X.flatten(), p[W]),
        lambda h, X, p: nd.dot(X, p[W]) * h, lambda h, X, p: h + number * X,
        lambda h, X, p: nd.relu(h), lambda h, X, p: nd.tanh(h), lambda h, X, p: h.flatten(),
        lambda h, X, p: h * p[b], lambda h, X, p: h + p[b], lambda h, X, p: h * p[4],
        lambda h, X, p: h.reshape((-1,)).reshape((-1, WIDTH)),
        lambda h, X, p: h.reshape((-1, 2, WIDTH // 2)).flatten(),
        lambda h, X, p: nd.concat(h[:, 1:], h[:, :1], dim=1), lambda h, X, p: h - h[:1],
        lambda h, X, p: h - h.sum(axis=1, keepdims=True) / WIDTH,
        lambda h, X, p: h * p[W][1] + p[V].sum(axis=0), lambda h, X, p: h.T.T,
        lambda h, X, p: nd.FullyConnected(h, p[W], no_bias=True, num_hidden=WIDTH) + p[b],
        lambda h, X, p: nd.dot(h, p[W]) + h[0],
    ])


def random_function(random):
    steps = [random_step(random) for _ in range(random.randint(1, 6))]

    def own(X, params):
        h = X
        for step in steps:
            h = nd.tanh(step(h, X, params)) if len(steps) > 3 else step(h, X, params)
        return h * params[4]

    return own


def random_arrays(random):
    shapes = [(WIDTH, WIDTH), (WIDTH,), (WIDTH, WIDTH), (WIDTH,), (1,)]
    params = [nd.array(random.normal(0, 0.5, shape)) for shape in shapes]
    reqs = random.choice(["write"] * 4 + ["add", "null"], size=5)
    reqs[4] = "write"  # some parameter must have a gradient
    for param, req in zip(params, reqs):
        param.attach_grad(grad_req=req)
    return params, reqs


def sgd_by_requests(params, reqs, lr):
    """A plain step on those that have gradients; what adds up is not reset."""
    for param, req in zip(params, reqs):
        if req != "null":
            param[:] = param - lr * param.grad


@pytest.mark.parametrize("part", range(4))
def test_random_functions_train_as_they_are_written(part):
    """Three steps with gradients and an evaluation, in batches of two sizes."""
    for seed in range(part, NUM_RANDOM, 4):
        state = np.random.RandomState(seed)
        own = random_function(state)
        params, reqs = random_arrays(np.random.RandomState(seed))
        others, _ = random_arrays(np.random.RandomState(seed))
        batches = [nd.array(state.normal(size=(state.choice([2, 3]), WIDTH))) for _ in range(3)]
        is_packed, net = bool(state.randint(4)), fast.traced(own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some functions are no graphs
            with fast.packed(params) if is_packed else contextlib.nullcontext(params) as working:
                found = [step(net, X, working, train.SGD) for X in batches]
                found.append(net(batches[0], working))
        expected = [step(own, X, others, functools.partial(sgd_by_requests, reqs=reqs))
                    for X in batches]
        expected.append(own(batches[0], others))
        for one, right in zip([*found, *params], [*expected, *others]):
            np.testing.assert_allclose(one.asnumpy(), right.asnumpy(), rtol=1e-3, atol=1e-4,
                                       err_msg=f"seed {seed}, {[*reqs]}, packed: {is_packed}")


def step(function, X, params, update):
    with autograd.record():
        result = function(X, params)
        total = (result ** 2).sum()
    total.backward()
    update(params, lr=0.01)
    return result

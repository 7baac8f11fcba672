"""Users' own functions: they are trained and evaluated as by the plain loop.

The plain loop is the chapter's, operation by operation: no graph, no copies.
"""

import functools
import re
import warnings
from typing import Callable, NamedTuple, Optional

import numpy as np
import pytest

import chapter
from mlp_mx import InputError, data, fast, model, train
from mlp_mx.runtime import autograd, gluon, mx, nd

STEPS, BATCH = 60, 16
LEARNING_RATE = 0.002


def init(*widths, seed=0):
    """Parameters of layers of these widths, large enough for each of them to matter."""
    random = np.random.RandomState(seed)
    shapes = [shape for pair in zip(widths, widths[1:]) for shape in (pair, pair[1:])]
    params = [nd.array(random.normal(0, 0.2, shape)) for shape in shapes]
    for param in params:
        param.attach_grad()
    return params


@functools.lru_cache(maxsize=None)
def loader():
    """Random images labelled by a linear function of them; the last batch is smaller."""
    random = np.random.RandomState(2)
    images = random.uniform(0, 1, (STEPS * BATCH + 5, 64))
    label = (images @ random.normal(size=(64, 10))).argmax(axis=1)
    return data.ArrayLoader(nd.array(images.reshape(-1, 8, 8, 1)), nd.array(label), BATCH)


def plain_epoch(params, batches, net, loss=model.softmax_cross_entropy, update=chapter.SGD):
    """The chapter's loop; returns the mean loss."""
    total = sum(chapter.step(X, label, params, LEARNING_RATE, net, loss, update)
                for X, label in batches)
    return total / sum(len(label) for _, label in batches)


def fit_one(params, batches, **options):
    """One epoch of `fit`, evaluated on its batches."""
    return next(train.fit(params, batches, batches, learning_rate=LEARNING_RATE, **options))


def plain_accuracy(batches, params, net):
    correct = [(nd.argmax(net(X.reshape((len(X), -1)), params), axis=1) == label).asnumpy()
               for X, label in batches]
    return np.concatenate(correct).astype(bool).mean()


def layers(activation, X, params):
    *hidden, last = zip(params[::2], params[1::2])
    for W, b in hidden:
        X = activation(nd.dot(X, W) + b)
    return nd.dot(X, last[0]) + last[1]


def tanh(X, params):
    return layers(nd.tanh, X, params)


def relus(X, params):
    return layers(model.relu, X, params)


def one_relu_less(X, params):
    W1, b1, W2, b2, W3, b3 = params
    h1 = model.relu(nd.dot(X, W1) + b1)
    return nd.dot(nd.dot(h1, W2) + b2, W3) + b3


def square_weights_in_three_ways(X, params):
    W1, b1, W2, b2, W3, b3 = params
    h1 = nd.tanh(b1 + nd.dot(X, W1))
    h2 = nd.tanh(nd.dot(h1, W2) + nd.dot(h1, W2, transpose_b=True) + nd.dot(h1, W2 * W2) + b2)
    return nd.dot(h1 + h2, W3) + b3


def product_used_twice(X, params):
    W1, b1, W2, b2, W3, b3 = params
    linear = nd.dot(X, W1)
    h1 = nd.tanh(linear + b1) + nd.sigmoid(linear)
    return nd.dot(nd.tanh(nd.dot(h1, W2) + b2), W3) + b3


def constant_made_inside(X, params):
    return relus(X, params) * nd.array(np.linspace(0.5, 1.5, 10))


def values_read(X, params):
    return relus(X / max(float(nd.max(X).asscalar()), 1e-3), params)


def squared_error(yhat_linear, y):
    return nd.sum((model.softmax(yhat_linear) - y) ** 2, axis=1)


def momentum():
    """A stateful update, which pairs its state with the parameters by position."""
    velocities = []

    def update(params, lr):
        velocities.extend(nd.zeros_like(param) for param in params[len(velocities):])
        for param, velocity in zip(params, velocities):
            velocity[:] = 0.5 * velocity + param.grad
            param[:] = param - lr * velocity

    return update


class Case(NamedTuple):
    net: Callable = relus
    widths: tuple = (64, 32, 10)
    loss: Callable = model.softmax_cross_entropy
    make_update: Optional[Callable] = None
    warning: Optional[str] = None  # of a net that cannot be traced


CONSTANT = "uses an array that is not among its arguments"
READ = "prints or reads an array's values"
CASES = {
    "chapter": Case(chapter.net, (64, 32, 32, 10), chapter.softmax_cross_entropy),
    "package": Case(model.net, (64, 32, 32, 10)),
    "tanh": Case(tanh, (64, 32, 32, 10)),
    "one relu less": Case(one_relu_less, (64, 32, 32, 10)),
    "a third layer": Case(widths=(64, 32, 24, 16, 10)),
    "one layer": Case(widths=(64, 10)),
    "two widths": Case(widths=(64, 48, 24, 10)),
    "square weights": Case(square_weights_in_three_ways, (64, 64, 64, 10)),
    "a product twice": Case(product_used_twice, (64, 32, 32, 10)),
    "a constant": Case(constant_made_inside, warning=CONSTANT),
    "values read": Case(values_read, warning=READ),
    "another loss": Case(loss=squared_error),
    "momentum": Case(make_update=momentum),
    "momentum, values read": Case(values_read, make_update=momentum, warning=READ),
    "plain SGD": Case(make_update=lambda: chapter.SGD),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fit_trains_and_evaluates_what_it_is_given(case):
    def own(X, params):  # new each time, for a function is warned of once
        return case.net(X, params)

    expected, params = init(*case.widths), init(*case.widths)
    start, test_data = [param.asnumpy() for param in params], [*loader()][:20]
    plain_loss = plain_epoch(expected, loader(), case.net, case.loss,
                             case.make_update() if case.make_update else chapter.SGD)
    options = {"update": case.make_update()} if case.make_update else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record, = train.fit(params, loader(), test_data, epochs=1, learning_rate=LEARNING_RATE,
                            net=own, loss=case.loss, **options)
    assert record.loss == pytest.approx(plain_loss, rel=1e-5)
    for param, right, before in zip(params, expected, start):
        found, right = param.asnumpy(), right.asnumpy()
        assert np.linalg.norm(found - right) <= 1e-5 * np.linalg.norm(right)
        assert np.linalg.norm(found - before) > 1e-3 * np.linalg.norm(before)  # it did learn
    assert record.train_accuracy == plain_accuracy(loader(), params, case.net)
    assert record.test_accuracy == plain_accuracy(test_data, params, case.net)
    messages = [str(warning.message) for warning in caught]
    if case.warning:
        message, = messages
        assert message.startswith(f"own {case.warning}") and "2 to 3 times slower" in message
    else:  # it was traced
        assert messages == []


def test_a_relu_that_is_replaced_is_used_in_the_next_epoch(monkeypatch):
    """As in a notebook in which only the cell of relu is run again."""
    params, expected = init(64, 32, 32, 10), init(64, 32, 32, 10)
    epochs = train.fit(params, loader(), loader(), learning_rate=LEARNING_RATE, net=model.net)
    next(epochs)
    plain_epoch(expected, loader(), relus)
    monkeypatch.setattr(model, "relu", nd.sigmoid)
    loss = plain_epoch(expected, loader(), functools.partial(layers, nd.sigmoid))
    assert next(epochs).loss == pytest.approx(loss, rel=1e-5)


def test_the_books_net_finds_its_parameters_among_the_globals():
    W1, b1, W2, b2, W3, b3 = params = init(64, 32, 32, 10)

    def net(X):
        h1 = model.relu(nd.dot(X, W1) + b1)
        h2 = model.relu(nd.dot(h1, W2) + b2)
        return nd.dot(h2, W3) + b3

    options = {"epochs": 2, "learning_rate": LEARNING_RATE}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is traced
        *_, record = train.fit(params, loader(), loader(), net=net, **options)
    *_, again = train.fit(init(64, 32, 32, 10), loader(), loader(), **options)
    assert record[:4] == again[:4]
    X, _ = next(iter(loader()))
    assert (model.predict(X, params, net) == model.predict(X, params)).asnumpy().all()


@pytest.mark.filterwarnings("ignore:.* runs? as written")
def test_a_net_that_changes_its_batch_changes_no_data():
    def net(X, params):
        X -= 0.5
        return relus(X, params)

    start, params, expected = loader().data.copy(), init(64, 32, 10), init(64, 32, 10)
    record = next(train.fit(params, loader(), loader(), learning_rate=LEARNING_RATE, net=net))
    assert (loader().data == start).asnumpy().all()
    loader().set_epoch(0)
    assert record.loss == pytest.approx(
        plain_epoch(expected, loader(), lambda X, params: relus(X - 0.5, params)), rel=1e-5)


@pytest.mark.filterwarnings("ignore:.* runs? as written")
def test_a_net_of_the_globals_stays_on_their_device():
    params = init(64, 10)

    def net(X):
        return relus(X, params) * nd.ones((1, 1))

    def gluons(X, params):
        return frozen(relus(X, params))

    frozen = gluon.nn.Dense(10)
    frozen.initialize(ctx=mx.cpu(0))
    for each in (net, gluons):
        assert 0 <= train.evaluate_accuracy(loader(), params, each) <= 1


@pytest.mark.filterwarnings("ignore:.* runs? as written")
def test_batches_of_one_size_that_cannot_be_traced_change_the_way_of_all():
    def net(X, params):
        return values_read(X, params) if len(X) == 5 else relus(X, params)

    batches = [(X[:size], label[:size]) for (X, label), size in zip(loader(), [16, 5] * 20)]
    params, expected = init(64, 32, 32, 10), init(64, 32, 32, 10)
    record = fit_one(params, batches, net=net)
    assert record.loss == pytest.approx(plain_epoch(expected, batches, net), rel=1e-5)
    for a, b in zip(params, expected):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-4, atol=1e-6)
    assert train.evaluate_accuracy(batches, params, net) == pytest.approx(
        plain_accuracy(batches, params, net))


def test_what_trains_nothing_is_said_in_each_epoch():
    params, others = init(64, 32, 10), init(64, 32, 10)

    def without_effect(params, lr):
        for param in params:
            param = param - lr * param.grad

    def net(X):
        return relus(X, others)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        list(train.fit(params, loader(), loader(), 2, net=net))
        list(train.fit(params, loader(), loader(), 1, net=relus, update=without_effect))
    messages = [str(warning.message) for warning in caught]
    assert [message.split(";")[0] for message in messages] == [
        f"no parameter changed in epoch {epoch}" for epoch in (0, 1, 0)]


def test_a_redefined_function_of_the_same_name_is_warned_of_again():
    """As a cell of a notebook that is edited and run again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            def net(X, params):
                return values_read(X, params)

            for _ in range(2):
                train.evaluate_accuracy(loader(), init(64, 32, 10), net)
    assert [warning.lineno for warning in caught] == 2 * [net.__code__.co_firstlineno]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("options, hint", [
    ({"net": lambda X, params: model.softmax(relus(X, params))},
     "returns probabilities, but softmax_cross_entropy applies softmax itself"),
    ({"loss": lambda yhat_linear, y: nd.mean(model.softmax_cross_entropy(yhat_linear, y))},
     "returns one number per batch, the mean; return one per image, or multiply .* by 16$"),
    ({"loss": lambda y, yhat_linear: model.softmax_cross_entropy(yhat_linear, y)},
     "check the order of its arguments"),
    ({"params": init(64, 32, 256)}, "returns 256 logits for each image, but there are 9 classes"),
    ({"net": lambda X, params, drop_prob=0.0: relus(X, params)}, "drop_prob of .* stays 0.0"),
    ({"learning_rate": 30}, "the loss rose from .* to .*; the learning rate is too large"),
    ({"learning_rate": -1e-5, "epochs": 15},  # more than 900 batches
     "the loss of the first batch did not fall in the epochs up"),
])
def test_a_usual_mistake_gets_one_hint(options, hint):
    options = {"params": init(64, 32, 10), "net": relus, "learning_rate": 0.001, "epochs": 2,
               **options}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            list(train.fit(train_data=loader(), test_data=loader(), **options))
        except train.DivergenceError:
            assert options["learning_rate"] == 30 or "order" in hint
    assert [str(one.message) for one in caught if re.search(hint, str(one.message))], caught
    assert len(caught) == 1 or options["learning_rate"] == 30 or "order" in hint


@pytest.mark.parametrize("loss", [
    lambda yhat_linear, y: nd.sum(model.softmax_cross_entropy(yhat_linear, y)),
    lambda yhat, y: model.cross_entropy(model.softmax(yhat), y),
    squared_error,
    lambda yhat_linear, y: 1 + nd.sum((yhat_linear - y) ** 2, axis=1),
])
def test_other_losses_get_no_hint(loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_one(init(64, 32, 10), loader(), net=relus, loss=loss)
        fit_one(init(64, 32, 10), loader(), loss=model.cross_entropy,
                net=lambda X, params: model.softmax(relus(X, params)))


def test_a_trained_network_may_become_a_little_worse():
    params = init(64, 32, 10)
    list(train.fit(params, loader(), loader(), epochs=5, learning_rate=0.005, net=relus))
    before = train.evaluate_accuracy(loader(), params, relus)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, last = train.fit(params, loader(), loader(), epochs=20, learning_rate=-1e-6, net=relus,
                             start_epoch=5)
    assert 0.5 < last.train_accuracy < before


def test_fit_that_nobody_iterates_over_says_so():
    epochs = train.fit(init(64, 10), loader(), loader(), net=relus)
    assert "0 done" in repr(epochs)
    with pytest.warns(UserWarning, match="nothing was trained"):
        del epochs


def test_the_number_of_outputs_is_that_of_the_net():
    """Whatever the last parameter is."""
    def net(X, params):
        return relus(X, params[:-2]) * params[-2] + params[-1]

    fit_one(init(64, 10) + init(1, 1), loader(), net=net)


def test_a_loss_that_is_not_finite_before_the_first_step_is_no_divergence():
    with pytest.raises(train.DivergenceError, match="not finite before the first update"):
        fit_one(init(64, 10), loader(), net=relus, loss=model.cross_entropy)


def test_an_elementwise_update_gets_one_array_and_another_the_parameters():
    shapes, batches = [], [next(iter(loader()))]

    def update(params, lr):
        shapes.append([param.shape for param in params])
        chapter.SGD(params, lr)

    fit_one(init(64, 32, 10), batches, net=relus, update=update)
    fit_one(init(64, 32, 10), batches, net=relus, update=fast.elementwise(update))
    assert shapes == [[(64, 32), (32,), (32, 10), (10,)], [(1, 64 * 32 + 32 + 32 * 10 + 10)]]


def test_a_frozen_layer_stays_and_a_gradient_that_adds_up_does():
    for req in "null", "add":
        found, expected = [], []
        for each in found, expected:
            each += init(64, 32, 10)
            each[0].attach_grad(grad_req=req)
        for _ in range(2):  # what adds up does so over the epochs, too
            fit_one(found, [*loader()][:10], net=relus)
            plain_epoch(expected, [*loader()][:10], relus, update=train.SGD)
            for one, right in zip(found, expected):
                np.testing.assert_allclose(one.asnumpy(), right.asnumpy(), rtol=1e-4, atol=1e-5)
        assert (req == "null") == bool((found[0] == init(64, 32, 10)[0]).asnumpy().all())


def test_tied_parameters_train_as_they_are_written():
    def tied():
        W, b, V, c = init(64, 64, 10)
        return [W, b, W, b, V, c]

    params, expected = tied(), tied()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = fit_one(params, loader(), net=relus)
    assert record.loss == pytest.approx(plain_epoch(expected, loader(), relus), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
def test_batches_of_other_types_become_float32(dtype):
    batches = [((4 * X).astype(dtype), label.astype("int32")) for X, label in [*loader()][:20]]
    params, expected = init(64, 10), init(64, 10)
    record = fit_one(params, batches, net=relus)
    assert record.loss == pytest.approx(plain_epoch(
        expected, [(X.astype("float32"), label) for X, label in batches], relus), rel=1e-5)


class Doubles(data.ArrayLoader):
    """A loader of one's own that yields what the package's never does."""

    def __iter__(self):
        return ((X.astype("float64"), label.astype("int32")) for X, label in super().__iter__())


def test_batches_of_a_loader_are_prepared_if_it_is_another_or_its_data_are():
    X, label = loader().data[:128], loader().label[:128]
    same, changed = (data.ArrayLoader(X, label, BATCH) for _ in range(2))
    changed.data = X.astype("float64")
    losses = [fit_one(init(64, 10), batches, net=relus).loss
              for batches in (same, changed, Doubles(X, label, BATCH))]
    assert losses[1:] == 2 * losses[:1]
    same.label = label[:100]
    with pytest.raises(InputError, match=r"found shapes \(128, 8, 8, 1\) and \(100,\)"):
        train.evaluate_accuracy(same, init(64, 10), relus)


def test_a_gluon_block_trains_as_a_net():
    nets = [gluon.nn.HybridSequential() for _ in range(2)]
    for net in nets:
        net.add(gluon.nn.Dense(32, "relu", in_units=64), gluon.nn.Dense(10, in_units=32))
        net.initialize()
    all_params = [[param.data() for param in net.collect_params().values()] for net in nets]
    for one, other in zip(*all_params):
        other[:] = one
    record = fit_one(all_params[0], loader(), net=nets[0])
    loss = plain_epoch(all_params[1], loader(), lambda X, params: nets[1](X))
    assert record.loss == pytest.approx(loss, rel=1e-5)
    assert record.train_accuracy == plain_accuracy(
        loader(), all_params[1], lambda X, params: nets[1](X))


def test_dropout_is_on_in_training_alone():
    states = set()

    def net(X, params):
        states.add((autograd.is_recording(), autograd.is_training()))
        return relus(nd.Dropout(X, 0.5), params)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = fit_one(init(64, 32, 10), loader(), net=net)
    assert (True, True) in states and record.train_accuracy > 0.2
    assert train.evaluate_accuracy(loader(), init(64, 32, 10), net) == train.evaluate_accuracy(
        loader(), init(64, 32, 10), relus)


def not_implemented(X, params):
    raise NotImplementedError


@pytest.mark.parametrize("call, complaint", [
    (lambda params: train.evaluate_accuracy(loader(), model.net), "found net, a function; .*net=…"),
    (lambda params: train.evaluate_accuracy(loader(), params[:3]), "net, line .*not enough values"),
    (lambda params: train.evaluate_accuracy(loader(), []), "list of parameters, .* found none"),
    (lambda params: train.evaluate_accuracy(loader(), init(63, 32, 32, 10)),
     r"^net, line \d+, `h1 = relu\(nd.dot\(X.flatten\(\), W1\) \+ b1\)`: cannot multiply "
     r"\(500, 64\) by \(63, 32\); called with arrays of shapes \(500, 64\), \(63, 32\), \(32,\)"),
    (lambda params: fit_one(init(64, 32, 16, 16, 10), loader()), "^net, line .*too many values"),
    (lambda params: fit_one(init(64, 3), loader(), net=relus),
     "expected labels from 0 to 2, one for each of the network's outputs, found"),
    (lambda params: fit_one(params, [(nd.ones((2, 64)), nd.array([1, -1]))]),
     "expected labels from 0 to 9, .* found -1"),
    (lambda params: fit_one(params, [(nd.ones((2, 64)), nd.array([1, 1.5]))]), "found 1.5"),
    (lambda params: train.evaluate_accuracy([(nd.ones((2, 64)), nd.array([1, 10]))], params),
     "expected labels from 0 to 9, .* found 10"),
    (lambda params: fit_one(params, loader(), net=3), "net.*found int"),
    (lambda params: fit_one(params, loader(), loss="mse"), "^loss: .*found str"),
    (lambda params: fit_one(params, loader(), update=None), "^update: .*found NoneType"),
    (lambda params: fit_one(params, loader(), update=lambda params: None),
     r"found <lambda>\(params"),
    (lambda params: next(train.fit(params, loader(), loader(), learning_rate="0.001")),
     "learning_rate: expected a number, such as 0.001, found str"),
    (lambda params: next(train.fit(params, loader(), loader(), learning_rate=nd.array([1]))),
     "learning_rate: expected a number, .*, found NDArray"),
    (lambda params: next(train.fit(params, loader(), loader(), epochs=1.0)), "found 1.0"),
    (lambda params: next(train.fit(params, (loader(), loader()), loader())), "two loaders"),
    (lambda params: fit_one(params, (np.ones((2, 64)), np.ones(2))), "pass data.ArrayLoader"),
    (lambda params: fit_one(params, 3), "train_data: .*, found int"),
    (lambda params: model.predict(nd.ones((2, 64)), params,
                                  net=lambda X, params: nd.dot(np.tanh(X), params[0])),
     "<lambda>, line .*Argument lhs must have NDArray type, but got"),
    (lambda params: fit_one(params, [(nd.ones((2, 64)), nd.ones((2, 1)))]),
     r"found shapes \(2, 64\) and \(2, 1\); pass class numbers, label\[:, 0\]"),
    (lambda params: fit_one(params, [(nd.ones((2, 64)), nd.ones((2, 10)))]),
     r"label.argmax\(axis=1\)"),
    (lambda params: train.evaluate_accuracy([(nd.ones((2, 64))[:0], nd.ones(2)[:0])], params),
     r"found shapes \(0, 64\) and \(0,\)"),
    (lambda params: train.evaluate_accuracy([(np.ones((2, 64)), np.ones(2))], params),
     r"found \(ndarray, ndarray\); .* data.ArrayLoader"),
    (lambda params: train.evaluate_accuracy(
        loader(), params, net=lambda X, params: model.net(X, params).expand_dims(1)),
     r"expected logits, an NDArray of shape \(500, num_outputs\), .* found \(500, 1, 10\)"),
    (lambda params: fit_one(params, loader(), loss=lambda yhat_linear, y: 0.5),
     "from the loss, found float"),
    (lambda params: model.predict(nd.ones((2, 64)), params, net=not_implemented),
     "not_implemented, line .*: NotImplementedError"),
    (lambda params: next(train.fit(params, iter(loader()), loader())), "; a generator can be used"),
    (lambda params: fit_one(params, []), "to train on, found none"),
    (lambda params: train.evaluate_accuracy([], params), "to evaluate on, found none"),
    (lambda params: fit_one([param.asnumpy() for param in params], loader()),
     r"params\[0\]: expected an NDArray, found ndarray"),
    (lambda params: fit_one([param.astype("float64") for param in params], loader()),
     r"params\[0\]: expected float32, found float64"),
    (lambda params: fit_one([param.as_np_ndarray() for param in params], loader()),
     "found mx.np arrays"),
    (lambda params: model.init_params(num_hidden=(256, 0)), r"found \(784, 256, 0, 10\)"),
])
@pytest.mark.filterwarnings("ignore:<lambda> does not return one NDArray")
def test_what_does_not_fit_gets_one_line(call, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        call(init(64, 32, 32, 10))
    assert "\n" not in str(error.value)


def test_fit_inside_record_is_refused():
    with autograd.record(), pytest.raises(InputError, match="outside autograd.record"):
        fit_one(init(64, 10), loader(), net=relus)

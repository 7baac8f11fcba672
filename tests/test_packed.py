"""Packed parameters train as unpacked ones do, whatever is done to them in the block."""

import warnings

import numpy as np
import pytest

from mlp_mx import fast, model, train
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


def test_gradients_come_from_another_queue_after_an_evaluation_there():
    params, X = [nd.ones((3, 2)), nd.ones(2)], nd.ones((4, 3), ctx=mx.cpu(1))
    for param in params:
        param.attach_grad()
    net = fast.traced(lambda X, params: nd.dot(X, params[0]) + params[1])
    with fast.packed(params) as packed:
        net(X, packed)
        with autograd.record():
            output = net(X, packed)
        output.backward()
    assert params[1].grad.asnumpy().tolist() == [4, 4]

"""The model against NumPy in float64, and against finite differences."""

import numpy as np
import pytest

import oracle
from mlp_mx import model
from mlp_mx.runtime import autograd, mx, nd

NAMES = ["W1", "b1", "W2", "b2", "W3", "b3"]


@pytest.fixture
def batch():
    """Images, labels and parameters large enough for every layer to matter."""
    random = np.random.RandomState(1)
    X = random.uniform(0, 1, (32, 28, 28, 1)).astype(np.float32)
    label = random.randint(0, 10, 32)
    params = model.init_params(num_hidden=64, weight_scale=0.1, seed=2)
    return X, label, params


def float64(params):
    return [param.asnumpy().astype(np.float64) for param in params]


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_init_params_has_the_chapters_shapes_and_scale():
    params = model.init_params(seed=0)
    shapes = [(784, 256), (256,), (256, 256), (256,), (256, 10), (10,)]
    assert [param.shape for param in params] == shapes
    assert all(param.dtype == np.float32 and param.grad is not None for param in params)
    values = np.concatenate([param.asnumpy().ravel() for param in params])
    assert abs(values.mean()) < 1e-4
    assert values.std() == pytest.approx(0.01, rel=0.01)
    assert params[1].asnumpy().std() == pytest.approx(0.01, rel=0.2)  # biases are random too


def test_init_params_depends_on_its_seed_alone():
    first = model.init_params(seed=3)
    np.random.seed(0)
    mx.random.seed(0)
    drawn = np.random.get_state()[2]
    again, other = model.init_params(seed=3), model.init_params(seed=4)
    assert np.random.get_state()[2] == drawn
    for a, b, c in zip(first, again, other):
        assert (a == b).asnumpy().all()
        assert (a != c).asnumpy().any()
    assert (model.init_params()[0] != model.init_params()[0]).asnumpy().any()


def test_net_and_predict_match_numpy(batch):
    X, _, params = batch
    flat = X.reshape(32, 784)
    expected = oracle.forward(flat, float64(params))[-1]
    for images in (X, flat):
        assert relative_error(model.net(nd.array(images), params).asnumpy(), expected) < 1e-5
    predicted = model.predict(nd.array(X), params).asnumpy()
    assert predicted.tolist() == expected.argmax(axis=1).tolist()


def test_loss_and_gradients_match_numpy_and_finite_differences(batch):
    X, label, params = batch
    with autograd.record():
        output = model.net(nd.array(X), params)
        loss = model.softmax_cross_entropy(output, nd.one_hot(nd.array(label), 10))
    loss.backward()  # of the sum, not of the mean
    values, flat = float64(params), X.reshape(32, 784).astype(np.float64)
    assert loss.shape == (32,)
    assert loss.asnumpy().sum() == pytest.approx(oracle.loss(flat, label, values), rel=1e-5)
    random = np.random.RandomState(3)
    derived = oracle.gradients(flat, label, values)
    for name, value, param, expected in zip(NAMES, values, params, derived):
        gradient = param.grad.asnumpy()
        assert relative_error(gradient, expected) < 1e-5, name
        for index in random.randint(0, value.size, 10):
            original = value.flat[index]
            value.flat[index] = original + 1e-6
            above = oracle.loss(flat, label, values)
            value.flat[index] = original - 1e-6
            below = oracle.loss(flat, label, values)
            value.flat[index] = original
            slope = (above - below) / 2e-6
            assert gradient.flat[index] == pytest.approx(slope, rel=1e-3, abs=1e-3), name


def test_relu_is_zero_below_zero():
    assert model.relu(nd.array([-2, -0.0, 0, 3])).asnumpy().tolist() == [0, 0, 0, 3]


def test_softmax_of_huge_logits_is_finite_and_keeps_a_row_far_below_another():
    rows = np.array([[1000, -1000, 1000], [-1000] * 3, [500, 501, 502], [0, 1, 2]], np.float32)
    probabilities = model.softmax(nd.array(rows)).asnumpy()
    np.testing.assert_allclose(probabilities, np.exp(oracle.log_softmax(rows)), rtol=1e-6)


def test_cross_entropy_of_softmax_is_softmax_cross_entropy(batch):
    X, label, params = batch
    output, y = model.net(nd.array(X), params), nd.one_hot(nd.array(label), 10)
    np.testing.assert_allclose(
        model.cross_entropy(model.softmax(output), y).asnumpy(),
        model.softmax_cross_entropy(output, y).asnumpy(), rtol=1e-4,
    )


def test_softmax_cross_entropy_of_huge_logits_is_finite():
    loss = model.softmax_cross_entropy(nd.array([[1000, -1000]]), nd.array([[0, 1]]))
    assert loss.asnumpy().tolist() == [2000]

"""The model against NumPy in float64, and against finite differences."""

import numpy as np
import pytest

import oracle
from mlp_mx import model
from mlp_mx.runtime import autograd, mx, nd

NAMES = ["W1", "b1", "W2", "b2", "W3", "b3"]


def relative_error(found, expected):
    return np.abs(found.asnumpy() - expected).max() / np.abs(expected).max()


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


def test_logits_loss_and_gradients_match_numpy_and_finite_differences():
    random = np.random.RandomState(1)
    X = random.uniform(0, 1, (32, 28, 28, 1)).astype(np.float32)
    label = random.randint(0, 10, 32)
    # Large enough for every layer to matter.
    params = model.init_params(num_hidden=64, weight_scale=0.1, seed=2)
    with autograd.record():
        output, y = model.net(nd.array(X), params), nd.one_hot(nd.array(label), 10)
        loss = model.softmax_cross_entropy(output, y)
    loss.backward()  # of the sum, not of the mean
    values, flat = [param.asnumpy().astype(float) for param in params], X.reshape(32, 784)
    expected = oracle.forward(flat, values)[-1]
    assert relative_error(output, expected) < 1e-5
    assert relative_error(model.net(nd.array(flat), params), expected) < 1e-5
    predicted = model.predict(nd.array(X), params).asnumpy()
    assert predicted.tolist() == expected.argmax(axis=1).tolist()
    assert loss.shape == (32,)
    assert loss.asnumpy().sum() == pytest.approx(oracle.loss(flat, label, values), rel=1e-5)
    np.testing.assert_allclose(
        model.cross_entropy(model.softmax(output), y).asnumpy(), loss.asnumpy(), rtol=1e-4)
    derived = oracle.gradients(flat, label, values)
    random = np.random.RandomState(3)
    for name, value, param, gradient in zip(NAMES, values, params, derived):
        assert relative_error(param.grad, gradient) < 1e-5, name
        for index in random.randint(0, value.size, 10):
            original = value.flat[index]
            value.flat[index] = original + 1e-6
            above = oracle.loss(flat, label, values)
            value.flat[index] = original - 1e-6
            below = oracle.loss(flat, label, values)
            value.flat[index] = original
            found = param.grad.asnumpy().flat[index]
            assert found == pytest.approx((above - below) / 2e-6, rel=1e-3, abs=1e-3), name


def test_predict_takes_pixels_as_array_loader_does():
    pixels = np.random.RandomState(0).randint(0, 256, (50, 28, 28)).astype(np.uint8)
    params = model.init_params(num_hidden=8, weight_scale=1, seed=0)
    params[1][:] = 100 * params[1]  # biases, so that the scale of the input matters
    expected = model.predict(nd.array(pixels) / 255, params).asnumpy()
    assert (model.predict(nd.array(pixels), params).asnumpy() != expected).any()
    for same in (pixels, nd.array(pixels, dtype="uint8"), pixels / 255):
        assert (model.predict(same, params).asnumpy() == expected).all()


def test_softmax_and_loss_of_huge_logits_are_finite_and_rows_keep_their_own_scale():
    rows = np.array([[1000, -1000, 1000], [-1000, -1000, -1000], [500, 501, 502], [0, 1, 2]])
    np.testing.assert_allclose(
        model.softmax(nd.array(rows)).asnumpy(), np.exp(oracle.log_softmax(rows)), rtol=1e-5)
    loss = model.softmax_cross_entropy(nd.array([[1000, -1000]]), nd.array([[0, 1]]))
    assert loss.asnumpy().tolist() == [2000]

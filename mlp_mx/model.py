"""The chapter's model: six parameter arrays, and functions of them."""

import numbers

import numpy as np

from ._support.errors import InputError
from ._support.functions import computed, net_of_params
from .runtime.lazy import mx, nd

__all__ = [
    "cross_entropy", "init_params", "net", "predict", "relu", "shapes", "softmax",
    "softmax_cross_entropy",
]


def __dir__():
    return __all__


def init_params(
    num_inputs=784, num_hidden=256, num_outputs=10, weight_scale=0.01, seed=None, ctx=None
):
    """Draw the parameters of a network, and attach their gradients.

    All are drawn from a normal distribution around 0, the biases too, as in the chapter.

    Parameters
    ----------
    num_inputs, num_outputs : int, default 784, 10
        Sizes of the first and the last layer.
    num_hidden : int or sequence of int, default 256
        Sizes of the hidden layers; a number stands for the chapter's two layers of that size.
    weight_scale : float, default 0.01
        Standard deviation.
    seed : int, optional
        The same seed gives the same parameters, on any device; no seed gives new ones each time.
        No global generator is read or changed.
    ctx : mxnet.Context, optional
        By default the CPU.

    Returns
    -------
    list of NDArray, float32
        ``[W1, b1, W2, b2, …]``, of the shapes that `shapes` gives.
    """
    random = np.random.RandomState(seed)
    params = [
        nd.array(random.normal(0, weight_scale, shape), ctx or mx.cpu())
        for shape in shapes(num_inputs, num_hidden, num_outputs)
    ]
    for param in params:
        param.attach_grad()
    return params


def shapes(num_inputs=784, num_hidden=256, num_outputs=10):
    """The shapes of W1, b1, W2, b2, …: (inputs, outputs) and (outputs,) of each layer."""
    hidden = (num_hidden, num_hidden) if np.ndim(num_hidden) == 0 else tuple(num_hidden)
    sizes = (num_inputs, *hidden, num_outputs)
    if not all(isinstance(size, numbers.Integral) and size > 0 for size in sizes):
        raise InputError(f"expected sizes of layers, whole numbers of at least 1, found {sizes}")
    return [shape for layer in zip(sizes, sizes[1:]) for shape in (layer, layer[1:])]


def relu(X):
    """max(X, 0), elementwise."""
    return nd.maximum(X, nd.zeros_like(X))


def softmax(y_linear):
    """Turn each row of logits into probabilities.

    The chapter subtracts the maximum of the whole batch before it takes the exponential. Each
    row's own maximum gives the same probabilities, and never 0 / 0.

    Parameters
    ----------
    y_linear : NDArray, float32, shape (batch, num_outputs)

    Returns
    -------
    NDArray, float32, shape (batch, num_outputs)
        Non-negative; each row sums to 1.
    """
    exp = nd.exp(y_linear - nd.max(y_linear, axis=1, keepdims=True))
    partition = nd.sum(exp, axis=1, keepdims=True)
    return exp / partition


def cross_entropy(yhat, y):
    """Cross-entropy of probabilities. Prefer `softmax_cross_entropy`, which cannot underflow.

    Parameters
    ----------
    yhat : NDArray, float32, shape (batch, num_outputs)
        Probabilities.
    y : NDArray, float32, shape (batch, num_outputs)
        One-hot labels.

    Returns
    -------
    NDArray, float32, shape (batch,)
        In nats, one for each example, not averaged.
    """
    return -nd.sum(y * nd.log(yhat), axis=1)


def softmax_cross_entropy(yhat_linear, y):
    """Cross-entropy of the softmax of logits, computed with log-sum-exp.

    Parameters
    ----------
    yhat_linear : NDArray, float32, shape (batch, num_outputs)
        Logits.
    y : NDArray, float32, shape (batch, num_outputs)
        One-hot labels.

    Returns
    -------
    NDArray, float32, shape (batch,)
        In nats, one for each example, not averaged.
    """
    return -nd.sum(y * nd.log_softmax(yhat_linear), axis=1)


def net(X, params):
    """The forward pass.

    Parameters
    ----------
    X : NDArray, float32, shape (batch, num_inputs) or (batch, 28, 28, 1)
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, see `init_params`.

    Returns
    -------
    NDArray, float32, shape (batch, num_outputs)
        Logits; the softmax is left to the loss.
    """
    W1, b1, W2, b2, W3, b3 = params
    h1 = relu(nd.dot(X.flatten(), W1) + b1)
    h2 = relu(nd.dot(h1, W2) + b2)
    return nd.dot(h2, W3) + b3


def predict(X, params, net=net):
    """The most likely class of each example; `model_predict` in the chapter.

    Parameters
    ----------
    X : NDArray or ndarray, shape (batch, …)
        uint8 is divided by 255, as `mlp_mx.data.ArrayLoader` does.
    params
        As for `net`.
    net : callable, optional
        Another function of the same form, or of X alone.

    Returns
    -------
    NDArray, float32, shape (batch,)
        Class indices.
    """
    are_pixels = getattr(X, "dtype", None) == np.uint8
    if not isinstance(X, nd.NDArray):
        X = nd.array(X, params[0].context)
    X = X.flatten().astype("float32", copy=False)
    if are_pixels:
        X = X / 255
    return nd.argmax(computed(net_of_params(net), X, params), axis=1)

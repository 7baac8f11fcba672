"""Probabilities for arrays, and digits read from pictures."""

import math
from typing import Any, NamedTuple

import numpy as np

from .. import model
from .._support.errors import InputError
from ..runtime.lazy import nd

__all__ = ["Reading", "probabilities", "read", "relu_net"]


def __dir__():
    return __all__


class Reading(NamedTuple):
    """How a network reads a picture."""

    digit: int  # the most likely class
    probability: float
    probabilities: Any  # of all classes: ndarray of float32, shape (num_outputs,)
    image: Any  # the network's input: ndarray of uint8, shape (28, 28), white on black

    def __repr__(self):
        return f"Reading(digit={self.digit}, probability={self.probability:.4f}, …)"


def relu_net(X, params):
    """The forward pass of `mlp_mx.model.net`, for any number of layers.

    Parameters
    ----------
    X : NDArray, float32, shape (batch, …)
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``; all layers but the last end in a ReLU.

    Returns
    -------
    NDArray, float32, shape (batch, num_outputs)
        Logits.
    """
    X = X.flatten()
    *hidden, (W, b) = zip(params[::2], params[1::2])
    for hidden_W, hidden_b in hidden:
        X = model.relu(nd.dot(X, hidden_W) + hidden_b)
    return nd.dot(X, W) + b


def probabilities(X, params, net=relu_net):
    """The network's probability of each class for each example.

    Parameters
    ----------
    X : NDArray or ndarray, shape (batch, …)
        White on black: uint8, or values in [0, 1]. The network gets (batch, num_inputs).
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``, or what `net` expects.
    net : callable, optional
        Returns logits, ``net(X, params)``; by default those of `relu_net`.

    Returns
    -------
    ndarray of float32, shape (batch, num_outputs)
        Each row sums to 1.

    Raises
    ------
    InputError
        If there are no examples, or if they do not have as many values as the network has inputs.
    """
    num_values = math.prod(X.shape[1:])
    num_inputs = params[0].shape[0] if net is relu_net else num_values
    if not len(X) or num_values != num_inputs:
        raise InputError(f"expected one or more examples of {num_inputs} values, found shape "
                         f"{X.shape}")
    scale = 255 if X.dtype == np.uint8 else 1
    X = nd.array(X, params[0].context, "float32").reshape((len(X), -1)) / scale
    return model.softmax(net(X, params)).asnumpy()


def read(picture, params, net=relu_net) -> Reading:
    """Read the digit in a picture.

    Parameters
    ----------
    picture : path-like, or ndarray of uint8, shape (height, width) or (height, width, 3)
        A file in a format that `mlp_mx.predict.images.read` knows, or what it returns: grey levels
        or RGB, dark on light or light on dark.
    params, net
        As for `probabilities`, of a network with 784 inputs.

    Returns
    -------
    Reading
        ``(digit, probability, probabilities, image)``.

    Raises
    ------
    mlp_mx.predict.images.ImageError
        If the file is not a picture, or the picture does not show one digit.
    """
    from . import images  # here, because arrays do not need Pillow

    if not hasattr(picture, "shape"):
        picture = images.read(picture)
    image = images.to_mnist(picture)
    row = probabilities(image[None], params, net)[0]
    digit = int(row.argmax())
    return Reading(digit, float(row[digit]), row, image)

"""Check the arguments of `fit`, and say how to correct them."""

import inspect
import numbers

import numpy as np

from .._support.errors import InputError
from .._support.functions import name_of
from ..runtime.lazy import autograd, mx, nd

__all__ = ["check_arguments", "check_network"]


def check_arguments(params, train_data, test_data, epochs, learning_rate, net, loss, update):
    """Raise an `InputError` for arguments of `fit` that cannot be used."""
    check_network(net, params)
    for name, function, form in (("loss", loss, "loss(yhat_linear, y)"),
                                 ("update", update, "update(params, lr)")):
        if not callable(function):
            raise InputError(f"{name}: expected a function {form}, found "
                             f"{type(function).__name__}")
        if not _takes_two(function):
            raise InputError(f"expected {form} to take two arguments, found "
                             f"{name_of(function)}{inspect.signature(function)}")
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, (numbers.Real, np.number)):
        raise InputError("learning_rate: expected a number, such as 0.001, found "
                         f"{type(learning_rate).__name__}")
    if not isinstance(epochs, numbers.Integral):
        raise InputError(f"epochs: expected a whole number, such as 10, found {epochs!r}")
    for name, batches in ("train_data", train_data), ("test_data", test_data):
        _check_batches(name, batches)
    if autograd.is_recording():
        raise InputError("call train.fit outside autograd.record(); it does its own recording")


def _check_batches(name, batches):
    if isinstance(batches, tuple) and len(batches) == 2:
        if all(hasattr(one, "shape") for one in batches):
            raise InputError(f"{name}: expected batches, found a pair of arrays; pass "
                             "data.ArrayLoader(X, label)")
        if not any(isinstance(one, (list, tuple)) for one in batches):
            raise InputError(f"{name}: expected batches, found a pair; if these are the two "
                             "loaders that data.load returns, pass them as separate arguments")
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise InputError(f"{name}: expected batches (data, label), such as data.load returns, "
                         f"found {type(batches).__name__}")


def check_network(net, params):
    """Raise an `InputError` unless `net` is a function and `params` are float32 NDArrays."""
    if callable(params):
        raise InputError(f"expected a list of parameters, found {name_of(params)}, a function; "
                         "pass your own network as net=…")
    if isinstance(params, nd.NDArray) or not hasattr(params, "__len__") or not len(params):
        raise InputError("expected a list of parameters, such as [W1, b1, W2, b2], found "
                         + (type(params).__name__ if not hasattr(params, "__len__")
                            or isinstance(params, nd.NDArray) else "none"))
    if not callable(net):
        raise InputError(f"expected a function net(X, params), found {type(net).__name__}")
    for number, param in enumerate(getattr(params, "originals", params)):
        if isinstance(param, mx.np.ndarray):
            raise InputError("params: expected NDArrays, found mx.np arrays; pass "
                             "[param.as_nd_ndarray() for param in params] and a net that uses nd")
        if not isinstance(param, nd.NDArray):
            raise InputError(f"params[{number}]: expected an NDArray, found "
                             f"{type(param).__name__}; convert it with nd.array(…), then call "
                             "attach_grad()")
        if param.dtype != np.float32:
            raise InputError(f"params[{number}]: expected float32, found {np.dtype(param.dtype)}; "
                             "convert it with astype('float32'), then call attach_grad()")


def _takes_two(function):
    """Whether a function can be called with two arguments; true if Python cannot know."""
    try:
        inspect.signature(function).bind(None, None)
    except ValueError:  # one that is not written in Python
        return True
    except TypeError:
        return False
    return True

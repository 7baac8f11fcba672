"""Networks, losses and batches that users pass: do they fit together?"""

import functools
import inspect
import textwrap
import traceback
import warnings

from .. import InputError

__all__ = [
    "FAILURES", "check_any", "checked", "checked_batch", "computed", "flat", "functions_of",
    "name_of", "reason_of", "warn_of",
]

# What a function raises whose arguments do not fit it. MXNetError is a RuntimeError.
FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError)


def checked(net, params):
    """Return a network as a function of X and params; an `InputError` if either is something else.

    The chapter's own ``net(X)``, which finds its parameters among the globals, works, too: they
    must be the arrays in `params`. Once called, the function's `num_outputs` says how many logits
    it returns.
    """
    if callable(params):
        raise InputError("expected a list of parameters, found the function "
                         f"{getattr(params, '__name__', params)}; pass your own network as net=…")
    if not isinstance(params, (list, tuple)) or not params or len(params) % 2 or not all(
            hasattr(param, "asnumpy") for param in params):
        found = type(params).__name__
        if isinstance(params, (list, tuple)):
            others = [type(one).__name__ for one in params if not hasattr(one, "asnumpy")]
            found = f"a list with {others[0]}" if others else f"{len(params)} arrays"
        raise InputError("expected parameters [W1, b1, W2, b2, …], pairs of NDArrays, found "
                         f"{found}")
    if not callable(net):
        raise InputError(f"expected a function net(X, params), found {type(net).__name__}")
    takes_params, home = _num_arguments(net) != 1, params[0].context

    @functools.wraps(net)
    def logits(X, params):
        if not takes_params and params[0].context != home:
            raise InputError(f"expected net(X, params) to train on several devices, found "
                             f"{name_of(net)}(X), whose parameters are on {home} only")
        output = net(X, params) if takes_params else net(X)
        shape = getattr(output, "shape", ())
        if not hasattr(output, "asnumpy") or len(shape) != 2 or shape[0] != len(X):
            raise InputError(f"expected logits, an NDArray of shape ({len(X)}, num_outputs), from "
                             f"{name_of(net)}, found {shape or type(output).__name__}")
        logits.num_outputs = shape[1]
        return output

    return logits


def checked_batch(batch):
    """Return flat data and float32 labels of a batch; an `InputError` if it is something else."""
    found = type(batch).__name__
    if isinstance(batch, (list, tuple)):
        found = f"({', '.join(type(one).__name__ for one in batch)})"
        if len(batch) == 2 and all(hasattr(array, "asnumpy") for array in batch):
            X, label = batch
            if len(X) and label.shape == X.shape[:1]:
                return X.reshape((len(X), -1)), label.astype("float32", copy=False)
            found = f"shapes {X.shape} and {label.shape}"
    raise InputError("expected batches (data, label), NDArrays of shapes (n, …) and (n,) with n at "
                     f"least 1, found {found}")


def check_any(num_examples, purpose):
    """Raise an `InputError` if there was no example to train or to evaluate on."""
    if not num_examples:
        raise InputError(f"expected at least one example to {purpose} on, found none; a generator "
                         "ends after one pass, a list of batches does not")


def _num_arguments(function):
    """How many arguments a function takes by position, without those that have defaults."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that is not written in Python
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               and parameter.default is parameter.empty for parameter in parameters)


def flat(args):
    """The NDArrays among arguments that are NDArrays and lists of NDArrays."""
    return [array for arg in args for array in (arg if isinstance(arg, (list, tuple)) else [arg])]


def computed(function, *args):
    """Return ``function(*args)``, of NDArrays and lists of them; `InputError` if they don't fit."""
    try:
        return function(*args)
    except InputError:  # which says all
        raise
    except FAILURES as error:
        shapes = ", ".join(str(array.shape) for array in flat(args))
        raise InputError(f"{name_of(function)} cannot be computed from arrays of shapes {shapes}: "
                         f"{reason_of(error)}{_line_of(error, function)}") from error


def functions_of(function):
    """The user's functions that a partial function is made of, or the function itself."""
    functions = list(getattr(function, "keywords", {}).values()) or [function]
    return [inspect.unwrap(one) for one in functions]


def name_of(function):
    """What to call a function in a message."""
    return " and ".join(getattr(one, "__name__", repr(one)) for one in functions_of(function))


def warn_of(function, message):
    """Warn at the line of the user's function, even if the same was said of another function."""
    code = getattr(functions_of(function)[0], "__code__", warn_of.__code__)
    warnings.warn_explicit(
        message, UserWarning, code.co_filename, code.co_firstlineno, __name__, registry={})


def _line_of(error, function):
    """The line of the user's function that an error comes from, if it is known."""
    files = [one.__code__.co_filename for one in functions_of(function) if hasattr(one, "__code__")]
    lines = [f", in line {frame.lineno}: {frame.line}".rstrip(": ")
             for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return lines[-1] if lines else ""


def reason_of(error):
    """The line of an error's message that tells most: of MXNet's, after a traceback, the last."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    is_mxnets = type(error).__name__ == "MXNetError"
    return textwrap.shorten(lines[-1 if is_mxnets else 0], 300, placeholder="…")

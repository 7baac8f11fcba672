"""Name the functions that users pass, and locate their errors."""

import functools
import inspect
import re
import textwrap
import traceback
import warnings

from .errors import InputError

__all__ = ["FAILURES", "computed", "name_of", "net_of_params", "parts_of", "reason_of", "warn_of"]

# What a function raises whose arguments do not fit it. MXNetError is a RuntimeError.
FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError)
DOT = re.compile(r"dot shape error: \[([\d,]+)\] X \[([\d,]+)\]")


def computed(function, *args, **kwargs):
    """Call a function of arrays; if they do not fit, raise an `InputError` that names its line."""
    try:
        return function(*args, **kwargs)
    except InputError:  # which says all
        raise
    except FAILURES as error:
        shapes = ", ".join(map(str, _shapes([*args, *kwargs.values()])))
        raise InputError(f"{name_of(function)}{_line_of(error, function)}: {reason_of(error)}; "
                         f"called with arrays of shapes {shapes}") from None


def _shapes(values):
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _shapes(value)
        elif hasattr(value, "shape"):
            yield value.shape


def parts_of(function):
    """Return the user's own function inside methods, partial functions and wrappers."""
    while True:
        inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None) \
            or getattr(function, "func", None)
        if inner is None:
            return function
        function = inner


def name_of(function):
    """Return the name of a function for messages."""
    function = parts_of(function)
    return getattr(function, "__name__", None) or type(function).__name__


def code_of(function):
    """The code object of a function or of a callable object, or None."""
    function = parts_of(function)
    if not hasattr(function, "__code__"):
        function = inspect.unwrap(getattr(type(function), "__call__", function))
    return getattr(function, "__code__", None)


def warn_of(function, message):
    """Warn at the line of the user's function, even if another one has caused the same warning."""
    code = code_of(function) or warn_of.__code__
    warnings.warn_explicit(
        message, UserWarning, code.co_filename, code.co_firstlineno, __name__, registry={})


def _line_of(error, function):
    """The line of the user's function that an error comes from, if it is known."""
    code = code_of(function)
    lines = [f", line {frame.lineno}, `{frame.line}`" if frame.line else f", line {frame.lineno}"
             for frame in traceback.extract_tb(error.__traceback__)
             if code is not None and frame.filename == code.co_filename]
    return lines[-1] if lines else ""


def reason_of(error):
    """Return an error's most informative line: MXNet's last one, since a traceback precedes it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    is_mxnets = type(error).__name__ == "MXNetError"
    dot = is_mxnets and DOT.search(str(error))
    if dot:
        left, right = (shape.replace(",", ", ") for shape in dot.groups())
        return f"cannot multiply ({left}) by ({right})"
    reason = lines[-1 if is_mxnets else 0].removeprefix("MXNetError: ")
    return textwrap.shorten(reason, 300, placeholder="…")


def net_of_params(net):
    """Return a network as a function of X and params.

    This wraps gluon blocks and the chapter's own ``net(X)``, whose parameters are globals.
    """
    if not hasattr(net, "collect_params") and _num_required(net) != 1:
        return net

    @functools.wraps(net, updated=())
    def net_of_X(X, params):
        return net(X)

    del net_of_X.__wrapped__  # which has another signature
    net_of_X.__name__ = name_of(net)
    return net_of_X


def _num_required(function):
    """Return the number of positional arguments that have no default, or None if unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that is not written in Python
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               and parameter.default is parameter.empty for parameter in parameters)

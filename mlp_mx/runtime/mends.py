"""What today's NumPy asks for in MXNet's own modules: one function for each change.

Every function takes the module, freshly imported, and changes something in it. Names that NumPy
has removed are in `numpy_names`, what modules import in `imports`.
"""

import collections
import re

import numpy as np

from . import numpy_names

__all__ = ["mend"]

IS_NUMPY_2 = int(np.__version__.split(".")[0]) >= 2
_MENDS = collections.defaultdict(list)


def mend(module):
    """Mend a module of MXNet: all that is here for a module of its name."""
    for function in _MENDS[module.__name__]:
        function(module)


def _of(*modules, wanted=True):
    """Register a function as a mend of these modules of MXNet, if it is `wanted` here."""

    def register(function):
        for module in modules if wanted else ():
            _MENDS[f"mxnet.{module}"].append(function)
        return function

    return register


class _Strings(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str)


class _Text(str, metaclass=_Strings):
    """``str``, but for the NumPy numbers in a tuple or list, which it writes as NumPy 1 did."""

    _SCALAR = re.compile(r"\bnp\.(?:(True|False)_|\w+\(([^()]*)\))")

    def __new__(cls, value=""):
        text = str(value)
        if isinstance(value, str) or "np." not in text:
            return text
        return cls._SCALAR.sub(lambda match: match[1] or match[2].strip("'"), text)


@_of("_ctypes.ndarray", "_ctypes.symbol", "io.io", "kvstore.base", "symbol.symbol",
     wanted=IS_NUMPY_2)
def plain_numbers_in_texts(module):
    """Operators get their parameters as text, and in NumPy 2 ``str((np.int64(3),))`` says np."""
    module.str = _Text


def _array(values, dtype=None, **options):
    try:
        return np.array(values, dtype=dtype, **options)
    except (OverflowError, DeprecationWarning):  # the latter under python -W error
        return np.array(values, **options).astype(dtype)


@_of("ndarray.ndarray", "numpy.multiarray")
def integers_that_wrap_round(module):
    """``nd.array([300], dtype="uint8")`` wraps round to 44; NumPy 2 raises OverflowError."""
    numpy = numpy_names.as_mxnet_knew_it(array=_array)
    for name in {"np", "_np"} & set(vars(module)):
        if vars(module)[name].__name__ == "numpy":
            setattr(module, name, numpy)


@_of("ndarray.ndarray")
def whole_arrays(module):
    """Give ``np.array(nd)`` and ``plt.plot(nd)`` all values at once.

    NumPy would ask for them element by element, each an NDArray of one element itself, down to its
    greatest number of dimensions, where NumPy 1.24 and later raise ValueError.
    """

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("the values of an NDArray are always copied")
        values = self.asnumpy()
        return values if dtype is None else values.astype(dtype, copy=False)

    module.NDArray.__array__ = __array__


@_of("recordio", wanted=not hasattr(np.ndarray, "tostring"))
def bytes_of_labels(module):
    """NumPy 2.3 removed ``ndarray.tostring``, an old name of ``tobytes``."""
    for function in (module.pack, module.pack_img):
        code = function.__code__
        names = ["tobytes" if name == "tostring" else name for name in code.co_names]
        function.__code__ = code.replace(co_names=tuple(names))


class _Double:
    """An attribute that keeps a float as a NumPy double."""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        try:
            return vars(instance)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, instance, value):
        is_float = isinstance(value, (float, np.floating))
        vars(instance)[self._name] = np.float64(value) if is_float else value


@_of("metric", wanted=IS_NUMPY_2)
def sums_in_double_precision(module):
    """Metrics add float32 values to 0.0, which was float64 in NumPy 1, and is float32 in NumPy 2.

    Such a sum stops growing at 2 ** 24.
    """
    for name in ("sum_metric", "global_sum_metric"):
        attribute = _Double()
        attribute.__set_name__(module.EvalMetric, name)
        setattr(module.EvalMetric, name, attribute)

"""Patches to MXNet's modules for today's NumPy and network: one function per change.

Each takes a module, freshly imported, and changes something in it.
"""

import collections
import functools

import numpy as np

from .numpy_names import IS_NUMPY_2

__all__ = ["patch"]

_PATCHES = collections.defaultdict(list)


def patch(module):
    """Apply every change that is here for this module of MXNet."""
    for function in _PATCHES[module.__name__]:
        function(module)


def _of(*modules, wanted=True):
    """Register a function as a change of these modules, if it is wanted here."""

    def register(function):
        for module in modules if wanted else ():
            _PATCHES[f"mxnet.{module}"].append(function)
        return function

    return register


class _Strings(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str)


class _Text(str, metaclass=_Strings):
    """``str``, but a tuple's or list's NumPy numbers are written as NumPy 1 did."""

    def __new__(cls, value=""):
        text = str(value)
        if isinstance(value, str) or "np." not in text:
            return text
        with np.printoptions(legacy="1.25"):
            return str(value)


@_of("_ctypes.ndarray", "_ctypes.symbol", "io.io", "kvstore.base", "symbol.symbol",
     wanted=IS_NUMPY_2)
def plain_numbers_in_texts(module):
    """Operators get their parameters as text; NumPy 2 writes ``(np.int64(3),)`` for ``(3,)``."""
    module.str = _Text


@_of("ndarray.ndarray")
def whole_arrays(module):
    """Give ``np.array(nd)`` and ``plt.plot(nd)`` all values at once.

    NumPy would read them one by one, each an NDArray again, and since NumPy 1.24 raises ValueError.
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


@_of("metric", wanted=IS_NUMPY_2)
def sums_in_double_precision(module):
    """Metrics add float32 values to 0.0; NumPy 2 keeps float32, which stops growing at 2 ** 24."""

    def __setattr__(self, name, value):
        if name in ("sum_metric", "global_sum_metric") and isinstance(value, (float, np.floating)):
            value = np.float64(value)
        object.__setattr__(self, name, value)

    module.EvalMetric.__setattr__ = __setattr__


@_of("gluon.data.vision.datasets", "test_utils")
def mnist_from_a_mirror(module):
    """The hosts of MNIST in MXNet's URLs are gone, for gluon's ``MNIST`` and for ``get_mnist``."""
    download = module.download

    @functools.wraps(download)
    def from_a_mirror(url, *args, **kwargs):
        from ..data import mnist  # here, because it imports this package

        folder, _, name = url.rpartition("/")
        if folder.endswith("/mnist") and name in mnist.FILES:
            url = mnist.mirrors()[0] + name
        return download(url, *args, **kwargs)

    module.download = from_a_mirror

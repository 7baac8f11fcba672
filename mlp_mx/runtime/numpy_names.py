"""NumPy as MXNet 1.9.1 knew it: the names that NumPy has removed since.

MXNet's modules get a copy of the module ``numpy`` (see `imports`), other old code the names alone
(see `removed`). The copy has the functions, types and submodules of the real one, so arrays are the
same in both. Nothing is added to your own NumPy, where an old name can do harm: ``np.bool = bool``
breaks `numpy.ma` of NumPy 2, and with it SciPy and Matplotlib.
"""

import functools
import sys
import types

import numpy as np

__all__ = ["IS_NUMPY_2", "NAMES", "as_mxnet_knew_it", "fromstring_for"]

IS_NUMPY_2 = int(np.__version__.split(".")[0]) >= 2

NAMES = {
    # Removed in NumPy 1.20; MXNet only looks them up
    **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
    # 1.23
    "asscalar": lambda a: a.item(),
    # 1.24; NumPy 2 has a np.bool and a np.long of its own
    "bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str,
    "long": int, "unicode": str,
    # 2.0
    "PZERO": 0.0, "NZERO": -0.0, "PINF": np.inf, "NINF": -np.inf, "Inf": np.inf,
    "Infinity": np.inf, "infty": np.inf, "NAN": np.nan, "NaN": np.nan,
    "float_": np.float64, "complex_": np.complex128, "string_": np.bytes_, "unicode_": np.str_,
    "alltrue": np.all, "sometrue": np.any, "product": np.prod, "cumproduct": np.cumprod,
    "round_": np.round, "mat": np.asmatrix, "row_stack": np.vstack,
    "asfarray": lambda a, dtype=np.float64: np.asarray(a, dtype),
    "msort": lambda a: np.sort(a, axis=0),
    "compat": types.SimpleNamespace(basestring=str),
    # 2.4; NumPy 2.0 has trapezoid instead
    "in1d": lambda ar1, ar2, **options: np.isin(np.ravel(ar1), ar2, **options),
    "trapz": vars(np).get("trapezoid", vars(np).get("trapz")),
}


def _array(values, dtype=None, **options):
    """``np.array``, but integers that `dtype` cannot hold wrap round, as they did in NumPy 1."""
    try:
        return np.array(values, dtype=dtype, **options)
    except (OverflowError, DeprecationWarning):  # the latter under python -W error
        return np.array(values, **options).astype(dtype)


def as_mxnet_knew_it():
    """A copy of the module ``numpy`` with the names and the behaviour that it lacks."""
    copy = types.ModuleType("numpy")
    # `vars`, because getattr warns of old names. It includes NumPy's own __getattr__, which loads
    # submodules on first use.
    vars(copy).update({**NAMES, **vars(np)})
    if IS_NUMPY_2:
        # np.core warns. MXNet uses one function in it, for `moveaxis`.
        normalize = np.lib.array_utils.normalize_axis_tuple
        copy.core = types.SimpleNamespace(
            numeric=types.SimpleNamespace(normalize_axis_tuple=normalize))
    copy.array = _array
    return copy


def fromstring_for(is_old):
    """``np.fromstring`` that reads bytes, which NumPy 2.3 refuses, where ``is_old(frame)``."""
    original = np.fromstring

    @functools.wraps(original)
    def fromstring(string, dtype=float, count=-1, *, sep="", **options):
        if sep or not is_old(sys._getframe(1)):
            return original(string, dtype, count, sep=sep, **options)
        content = string.encode("latin-1") if isinstance(string, str) else string
        return np.frombuffer(content, dtype, count).copy()

    return fromstring

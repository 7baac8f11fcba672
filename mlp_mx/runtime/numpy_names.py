"""NumPy as MXNet 1.9.1 knew it: the names that NumPy has removed since, for MXNet alone.

MXNet's modules get a copy of the module ``numpy`` (see `imports`). It has the functions, types and
submodules of the real one, so arrays are the same in both. Nothing is added to your own NumPy,
where an old name can do harm: ``np.bool = bool`` breaks `numpy.ma` of NumPy 2, and with it SciPy
and Matplotlib.
"""

import types

import numpy as np

__all__ = ["IS_NUMPY_2", "NAMES", "as_mxnet_knew_it"]

IS_NUMPY_2 = int(np.__version__.split(".")[0]) >= 2

NAMES = {
    # Removed in NumPy 1.20; MXNet only looks them up
    **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
    # 1.24; NumPy 2 has a np.bool of its own
    "bool": bool, "int": int,
    # 2.0
    "PZERO": 0.0, "NZERO": -0.0, "PINF": np.inf, "NINF": -np.inf, "Inf": np.inf,
    "NAN": np.nan, "NaN": np.nan,
    "alltrue": np.all, "sometrue": np.any, "product": np.prod, "round_": np.round,
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

"""NumPy as MXNet 1.9.1 knew it: the names that NumPy has removed since, for MXNet alone.

MXNet's modules import the module that `as_mxnet_knew_it` returns in the place of ``numpy`` (see
`imports`). It has the very functions, types and submodules of the real one, so that arrays of the
two are the same thing; nothing is added to the user's NumPy, where an old name could do harm
(``np.bool = bool`` breaks `numpy.ma` on NumPy 2, and with it SciPy and Matplotlib).
"""

import types

import numpy as np

__all__ = ["NAMES", "as_mxnet_knew_it"]


def _gone(name):
    """A function for a table of functions, where MXNet looks it up and does not call it."""

    def function(*args, **kwargs):
        raise NotImplementedError(f"NumPy 1.20 removed numpy.{name}; see numpy_financial.{name}")

    function.__name__ = name
    return function


def _in1d(ar1, ar2, **options):
    return np.isin(np.ravel(ar1), ar2, **options)


def _msort(a):
    return np.sort(a, axis=0)


# Name, what takes its place where NumPy has none of that name, NumPy's version without it, and the
# modules of MXNet that use it.
NAMES = (
    *((name, _gone(name), "1.20", "numpy.fallback")
      for name in ("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
    ("bool", bool, "1.24 to 1.26", "numpy.utils, numpy.multiarray, test_utils, nd.np, sym.np"),
    ("int", int, "1.24", "test_utils"),
    ("PZERO", 0.0, "2.0", "numpy.utils"),
    ("NZERO", -0.0, "2.0", "numpy.utils"),
    ("PINF", np.inf, "2.0", "numpy.utils"),
    ("NINF", -np.inf, "2.0", "numpy.utils"),
    ("NAN", np.nan, "2.0", "numpy.utils"),
    ("NaN", np.nan, "2.0", "numpy.utils"),
    ("Inf", np.inf, "2.0", "gluon.contrib.estimator"),
    ("alltrue", np.all, "2.0", "numpy.fallback"),
    ("msort", _msort, "2.0", "numpy.fallback"),
    ("product", np.prod, "2.0", "numpy_dispatch_protocol"),
    ("round_", np.round, "2.0", "numpy_dispatch_protocol"),
    ("sometrue", np.any, "2.0", "numpy_dispatch_protocol"),
    ("compat", types.SimpleNamespace(basestring=str), "2.0", "pad of mx.np"),
    ("in1d", _in1d, "2.4", "numpy.fallback"),
    ("trapz", vars(np).get("trapezoid", vars(np).get("trapz")), "2.4", "numpy.fallback"),
)


def _core():
    """``np.core``, of which MXNet uses one function (`moveaxis`), without the warning."""
    normalize = np.lib.array_utils.normalize_axis_tuple
    return types.SimpleNamespace(numeric=types.SimpleNamespace(normalize_axis_tuple=normalize))


def as_mxnet_knew_it(**others):
    """A copy of the module ``numpy`` with the names that are missing there.

    Parameters
    ----------
    **others
        More names, over those of NumPy.

    Returns
    -------
    module
    """
    copy = types.ModuleType("numpy")
    # `vars`, because NumPy answers with a warning when it is asked for an old name, and because it
    # holds NumPy's own __getattr__, which loads submodules when they are first used.
    vars(copy).update({name: value for name, value, *_ in NAMES})
    vars(copy).update(vars(np))
    if int(np.__version__.split(".")[0]) >= 2:
        copy.core = _core()
    vars(copy).update(others)
    return copy

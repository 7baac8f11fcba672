"""MXNet 1.9.1 on today's machines: the only module that imports it.

``from mlp_mx.runtime import mx, nd, autograd, gluon`` loads MXNet. Importing the module itself does
not, and needs no other package, so ``python -m mlp_mx.runtime`` can say why MXNet does not load.
``python -m mlp_mx.runtime script.py`` runs old code unedited.

- `imports`, `numpy_names` and `patches` fit MXNet's modules to today's Python and NumPy,
- `removed` has the old names of Python and NumPy for other old code,
- `hook` takes all of it into the processes that this one starts,
- `blas` chooses OpenBLAS's kernel, `cuda` knows about GPUs,
- `environment` checks the variables that MXNet reads, `diagnosis` says what to do if MXNet does
  not load,
- `lazy` has MXNet's modules for this package's own, loaded when they are first used.
"""

import functools
import importlib
import os
import re

from .._support.errors import Error, InputError
from .blas import blas_kernel, cpu_features
from .imports import MXNetLoadError

__all__ = [
    "MXNetLoadError", "blas_kernel", "context", "cpu_features", "everywhere", "inherited", "load",
    "old_names",
]


def __dir__():
    # pytest looks for its hooks here: pytest -p mlp_mx.runtime
    return [*__all__, "autograd", "gluon", "mx", "nd", "pytest_load_initial_conftests"]


def __getattr__(name):
    if name not in ("autograd", "gluon", "mx", "nd"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    mx = load()
    return mx if name == "mx" else getattr(mx, name)


@functools.lru_cache(maxsize=None)
def load():
    """Import MXNet, once.

    Returns
    -------
    module
        ``mxnet``.

    Raises
    ------
    MXNetLoadError
        If it is not installed, or if this system cannot load it.
    InputError
        If an environment variable would make MXNet abort.
    """
    from . import diagnosis, imports

    imports.install()
    try:
        for name in "numpy", "mxnet":
            module = importlib.import_module(name)
        return module
    except Error:  # which says all
        raise
    except Exception as error:  # NumPy, or the package as a whole, is not there
        raise MXNetLoadError(f"MXNet cannot be loaded: {diagnosis.explain(error)}") from error


def inherited(environ):
    """Return an environment in which MXNet and old code run unedited.

    Parameters
    ----------
    environ : mapping of str to str
        Such as ``os.environ``. It is not changed.

    Returns
    -------
    dict
        ``environ`` with another PYTHONPATH, for a process that is started with it, and for those
        which that one starts.
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook")
    others = environ.get("PYTHONPATH", "")
    if folder in others.split(os.pathsep):
        return dict(environ)
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [folder, others]))}


def everywhere():
    """Let ``import mxnet`` and old code work unedited, here and in processes started from here.

    This is what ``python -m mlp_mx.runtime script.py`` does for a script, ``pytest -p
    mlp_mx.runtime`` for tests, and ``%load_ext mlp_mx.runtime`` for a notebook. It imports neither
    MXNet nor NumPy.
    """
    from . import imports, removed

    os.environ.update(inherited(os.environ))
    imports.install()
    removed.serve(everyone=True)
    return imports.Finder


def load_ipython_extension(ipython):
    """``%load_ext mlp_mx.runtime``."""
    everywhere()


def pytest_load_initial_conftests():
    """``pytest -p mlp_mx.runtime``, before the tests' own ``conftest.py``."""
    everywhere()


def old_names(*packages):
    """Give packages the names that NumPy and Python have removed, and that they still use.

    These are names such as ``np.float``, ``np.Inf`` and ``collections.Iterable``, ``np.fromstring``
    of bytes, and ``distutils``. No other code sees them.

    Parameters
    ----------
    *packages : str
        Names of packages or modules, such as "gluoncv"; "__main__" is the script or the notebook.
    """
    from . import imports, removed

    imports.install()  # NumPy may be imported later
    removed.serve(*packages)


def context(name="auto"):
    """The device to compute on.

    Parameters
    ----------
    name : str, default "auto"
        "cpu", "gpu", or one of several, counted from 0: "gpu:1". (Every CPU context is the same
        CPU, with a queue of its own.) "auto" is the first GPU that MXNet can use, as in the
        chapter, or else the CPU.

    Returns
    -------
    mxnet.Context

    Raises
    ------
    InputError
        If the name is none of these, or names a GPU that does not exist.
    """
    match = re.fullmatch(r"(?:auto|(?:cpu|gpu)(?::(\d{1,3}))?)", name, re.ASCII)
    if not match:
        raise InputError(
            f"expected a context 'auto', 'cpu', 'cpu:N', 'gpu' or 'gpu:N', found {name!r}"
        )
    mx = load()
    gpus, why_not = _gpus()
    if name.startswith("cpu") or (name == "auto" and not gpus):
        return mx.cpu(int(match[1] or 0))
    device_id = gpus[0] if name == "auto" else int(match[1] or 0)
    if device_id not in gpus:
        raise InputError(f"context {name!r} needs a GPU that MXNet can use: {why_not}")
    return mx.gpu(device_id)


def _gpus():
    """The numbers of the GPUs that MXNet can use, and why there are no others."""
    from . import cuda, diagnosis

    if not load().runtime.Features().is_enabled("CUDA"):
        return [], f"this is MXNet's CPU wheel; use --ctx cpu, or run: {diagnosis.INSTALL_GPU}"
    cards = cuda.cards()
    if not cards:
        return [], "the driver finds no card; use --ctx cpu"
    usable = [number for number, card in enumerate(cards) if card.is_usable()]
    found = ", ".join(f"gpu:{number} is {card}" for number, card in enumerate(cards))
    return usable, (f"{found}, and MXNet's GPU wheel only has code for compute capabilities 5.0 to "
                    "8.9; use another card, or --ctx cpu")

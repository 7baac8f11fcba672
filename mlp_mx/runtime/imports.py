"""How MXNet's modules are imported: each with an ``__import__`` of its own.

What they ask for by name (NumPy, SciPy, distutils, multiprocessing) they get as they knew it when
MXNet 1.9.1 was made. Only MXNet's modules see that: nothing in ``sys.modules`` is replaced, and
no other package, whenever it is imported, finds anything changed.
"""

import builtins
import functools
import importlib.machinery
import multiprocessing
import re
import sys
import types
import warnings

from . import mends, numpy_names

__all__ = ["install"]

_numpy = functools.lru_cache(maxsize=None)(numpy_names.as_mxnet_knew_it)  # one for all modules


class _Version(tuple):
    """A version number that compares with others: all that MXNet uses distutils for."""

    def __new__(cls, text):
        return super().__new__(cls, map(int, re.findall(r"\d+", text)[:2]))


def _distutils():
    # Python 3.12 removed distutils. What setuptools puts in its place warns, and need not be there.
    return types.SimpleNamespace(
        version=types.SimpleNamespace(LooseVersion=_Version, StrictVersion=_Version))


class _Multiprocessing(types.ModuleType):
    """``multiprocessing`` whose workers inherit the DataLoader's data set.

    gluon passes it on in a global variable, which a fork copies. From Python 3.14 on, Linux starts
    processes by a server instead, in which that variable is empty.
    """

    def __getattr__(self, name):
        start = multiprocessing.get_start_method(allow_none=True)
        start = start or multiprocessing.get_all_start_methods()[0]
        fork = multiprocessing.get_context("fork") if start == "forkserver" else multiprocessing
        return getattr(fork if hasattr(fork, name) else multiprocessing, name)


def _scipy(name, *arguments):
    """Import SciPy, or raise ImportError, which MXNet takes for "there is none"."""
    try:
        builtins.__import__(name, *arguments)
    except ImportError:
        raise
    except Exception as error:  # such as the AttributeError of one made for another NumPy
        raise ImportError(f"{name} does not work here: {error}", name=name) from error
    scipy = types.ModuleType("scipy")
    vars(scipy).update(vars(sys.modules["scipy"]))
    if "scipy.sparse" in sys.modules:
        scipy.sparse = _scipy_sparse(sys.modules["scipy.sparse"])
    return scipy


def _scipy_sparse(module):
    """``scipy.sparse`` with the old place of `csr_matrix`, which warns and ends with SciPy 2."""
    sparse = types.ModuleType(module.__name__)
    vars(sparse).update(vars(module), csr=types.SimpleNamespace(csr_matrix=module.csr_matrix))
    return sparse


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    """What ``import`` calls in MXNet's modules."""
    arguments = globals, locals, fromlist, level
    package, _, submodule = name.partition(".")
    if level == 0 and package == "distutils":
        module = _distutils()
    elif level == 0 and package == "scipy":
        module = _scipy(name, *arguments)
    else:
        module = builtins.__import__(name, *arguments)
        if level or package not in ("numpy", "multiprocessing"):
            return module
        if package == "numpy":
            module = _numpy()
        else:
            module = _Multiprocessing("multiprocessing")
    # As with any import: `import a.b` gives a, `from a.b import c` takes c out of a.b.
    for part in submodule.split(".") if fromlist and submodule else ():
        module = getattr(module, part)
    return module


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a module of MXNet with the `_import` above, then mends it."""

    def get_code(self, fullname):
        if sys.flags.optimize < 2:
            return super().get_code(fullname)
        # `python -OO` drops docstrings, from which MXNet's modules build others at import.
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True, optimize=1)

    def exec_module(self, module):
        module.__builtins__ = {**vars(builtins), "__import__": _import}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what NumPy and Python have deprecated since
            super().exec_module(module)
            mends.mend(module)


class _Finder:
    """Finds MXNet's modules where Python does, and has them loaded by `_Loader`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] != "mxnet":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install():
    """Have MXNet's modules imported like this from now on, also those that are imported later.

    Where somebody has imported MXNet before, as older NumPys allow, its modules are mended.
    """
    if "mxnet" not in sys.modules:
        # An import that failed leaves modules behind, which have seen the wrong NumPy.
        for name in [name for name in sys.modules if name.startswith("mxnet.")]:
            del sys.modules[name]
    if _Finder not in sys.meta_path:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mxnet"]:
            mends.mend(sys.modules[name])
        sys.meta_path.insert(0, _Finder)

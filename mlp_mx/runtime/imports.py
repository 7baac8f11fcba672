"""How MXNet's modules are imported: with an ``__import__`` of their own.

It gives them NumPy, SciPy, distutils and multiprocessing as they were when MXNet 1.9.1 was made.
Nothing in ``sys.modules`` is replaced, and no other package is affected.
"""

import builtins
import functools
import importlib.machinery
import multiprocessing
import re
import sys
import types
import warnings

from . import numpy_names, patches

__all__ = ["install"]


class _Version(tuple):
    """A version number that compares with others: all that MXNet uses distutils for."""

    def __new__(cls, text):
        return super().__new__(cls, map(int, re.findall(r"\d+", text)[:2]))


def _distutils():
    """``distutils``, which Python 3.12 removed; setuptools' copy warns, and may not be there."""
    return types.SimpleNamespace(
        version=types.SimpleNamespace(LooseVersion=_Version, StrictVersion=_Version))


class _Multiprocessing(types.ModuleType):
    """``multiprocessing`` with DataLoader workers that inherit the data set.

    gluon passes it on in a global variable, which only a fork copies. From Python 3.14 on, Linux
    starts processes by a server instead.
    """

    def __getattr__(self, name):
        start = multiprocessing.get_start_method(allow_none=True)
        start = start or multiprocessing.get_all_start_methods()[0]
        fork = multiprocessing.get_context("fork") if start == "forkserver" else multiprocessing
        return getattr(fork if hasattr(fork, name) else multiprocessing, name)


def _scipy():
    """``scipy`` with `csr_matrix` in its old place, ``scipy.sparse.csr``, which is deprecated."""
    scipy = types.ModuleType("scipy")
    vars(scipy).update(vars(sys.modules["scipy"]))
    if "scipy.sparse" in sys.modules:
        real = scipy.sparse
        scipy.sparse = types.ModuleType(real.__name__)
        vars(scipy.sparse).update(
            vars(real), csr=types.SimpleNamespace(csr_matrix=real.csr_matrix))
    return scipy


STAND_INS = {
    "distutils": _distutils,
    "multiprocessing": lambda: _Multiprocessing("multiprocessing"),
    "numpy": functools.lru_cache(maxsize=None)(numpy_names.as_mxnet_knew_it),  # one for all modules
    "scipy": _scipy,
}


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    """What ``import`` calls in MXNet's modules."""
    package, *submodules = name.split(".")
    if level or package not in STAND_INS:
        return builtins.__import__(name, globals, locals, fromlist, level)
    try:
        if package != "distutils":
            builtins.__import__(name, globals, locals, fromlist, level)
    except ImportError:
        raise
    except Exception as error:  # from a SciPy made for another NumPy; MXNet expects ImportError
        raise ImportError(f"{name} does not work here: {error}", name=name) from error
    module = STAND_INS[package]()
    # As with any import: `import a.b` gives a, `from a.b import c` takes c out of a.b.
    for submodule in submodules if fromlist else ():
        module = getattr(module, submodule)
    return module


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a module of MXNet with `_import`, then patches it."""

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
            patches.patch(module)
        # Operators import when they are called, and Python does that faster than _import.
        if module.__name__ != "mxnet.numpy_dispatch_protocol":  # its decorators ask for distutils
            module.__builtins__["__import__"] = builtins.__import__


class _Finder:
    """Finds MXNet's modules where Python does, and has `_Loader` load them."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] != "mxnet":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install():
    """Import MXNet's modules like this from now on, later ones included.

    If MXNet is imported already, as older NumPys allow, its modules are patched.
    """
    if "mxnet" not in sys.modules:
        # An import that failed leaves modules behind, which have seen the wrong NumPy.
        for name in [name for name in sys.modules if name.startswith("mxnet.")]:
            del sys.modules[name]
    if _Finder not in sys.meta_path:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mxnet"]:
            patches.patch(sys.modules[name])
        sys.meta_path.insert(0, _Finder)

"""How MXNet's modules are imported: with an ``__import__`` of their own.

It gives them NumPy, SciPy, distutils and multiprocessing as they were when MXNet 1.9.1 was made.
Nothing in ``sys.modules`` is replaced, and no other package is affected. Neither NumPy nor MXNet is
imported before somebody asks for it.
"""

import builtins
import contextlib
import functools
import importlib.machinery
import os
import sys
import types
import warnings

from .._support.errors import Error

__all__ = ["Finder", "MXNetLoadError", "install"]


class MXNetLoadError(Error, ImportError):
    """MXNet cannot be imported; the message says why, and what fixes it."""


def _numpy():
    from . import numpy_names

    return numpy_names.as_mxnet_knew_it()


def _distutils():
    """``distutils``, which Python 3.12 removed; setuptools' copy warns, and may not be there."""
    from .distutils.version import LooseVersion

    return types.SimpleNamespace(  # strict ones reject NumPy's development versions
        version=types.SimpleNamespace(LooseVersion=LooseVersion, StrictVersion=LooseVersion))


class _Multiprocessing(types.ModuleType):
    """``multiprocessing`` with DataLoader workers that inherit the data set.

    gluon passes it on in a global variable, which only a fork copies. From Python 3.14 on, Linux
    starts processes by a server instead.
    """

    def __getattr__(self, name):
        import multiprocessing

        start = multiprocessing.get_start_method(allow_none=True)
        start = start or multiprocessing.get_all_start_methods()[0]
        fork = multiprocessing.get_context("fork") if start == "forkserver" else multiprocessing
        return getattr(fork if hasattr(fork, name) else multiprocessing, name)


def _copy(module, **changes):
    copy = types.ModuleType(module.__name__)
    vars(copy).update(vars(module), **changes)
    return copy


def _scipy():
    """``scipy`` with `csr_matrix` in its old place, ``scipy.sparse.csr``, which is deprecated."""
    scipy = _copy(sys.modules["scipy"])
    if "scipy.sparse" in sys.modules:
        scipy.sparse = _copy(
            scipy.sparse, csr=types.SimpleNamespace(csr_matrix=scipy.sparse.csr_matrix))
    return scipy


OPSET = 13  # of ONNX: the newest that MXNet's exporter writes


def _onnx():
    """``onnx`` with `mapping`, which ONNX 1.19 removed, and the operators of 2020 as the newest.

    MXNet would call its operators those of ONNX's newest set, in which some have other meanings.
    """
    onnx = sys.modules["onnx"]
    helper = _copy(onnx.helper, make_model=functools.partial(
        onnx.helper.make_model, opset_imports=[onnx.helper.make_opsetid("", OPSET)]))
    changes = {"helper": helper, "defs": _copy(onnx.defs, onnx_opset_version=lambda: OPSET)}
    if not hasattr(onnx, "mapping"):
        types_of = {helper.tensor_dtype_to_np_dtype(number): number
                    for number in reversed(helper.get_all_tensor_dtypes())}
        changes["mapping"] = types.SimpleNamespace(
            NP_TYPE_TO_TENSOR_TYPE=types_of,
            TENSOR_TYPE_TO_NP_TYPE={number: dtype for dtype, number in types_of.items()})
    return _copy(onnx, **changes)


STAND_INS = {
    "distutils": _distutils,
    "multiprocessing": lambda: _Multiprocessing("multiprocessing"),
    "numpy": functools.lru_cache(maxsize=None)(_numpy),  # one for all modules
    "onnx": _onnx,
    "scipy": _scipy,
}
# These import when they are called, too, and get stand-ins then.
IMPORT_LATER = ("mxnet.numpy_dispatch_protocol", "mxnet.onnx", "mxnet.contrib.onnx")


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
        from . import patches

        module.__builtins__ = {**vars(builtins), "__import__": _import}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what NumPy and Python have deprecated since
            super().exec_module(module)
            patches.patch(module)
        # Operators import when they are called, and Python does that faster than _import.
        if not module.__name__.startswith(IMPORT_LATER):
            module.__builtins__["__import__"] = builtins.__import__


class _PackageLoader(_Loader):
    """Executes ``mxnet`` itself: with the right BLAS kernel, or with one line that says why not.

    Python has locked ``mxnet`` then, so threads that import it do this one after the other.
    """

    def exec_module(self, module):
        from . import cuda, diagnosis, environment

        environment.check()
        environment.join_job()
        try:
            with _blas_kernel():
                try:
                    super().exec_module(module)
                except OSError as error:
                    # The GPU wheel, and the linker does not know where pip has put CUDA's libraries
                    if (diagnosis.missing_library(error) not in cuda.LIBRARIES
                            or not cuda.load_libraries()):
                        raise
                    _forget_submodules()
                    super().exec_module(module)
        except Exception as error:
            raise MXNetLoadError(f"MXNet cannot be loaded: {diagnosis.explain(error)}") from error


@contextlib.contextmanager
def _blas_kernel():
    """Tell MXNet's OpenBLAS, and only MXNet's, which kernel to use."""
    import numpy  # noqa: F401 -- whose own OpenBLAS must not see that kernel

    from .blas import blas_kernel

    kernel = None if "OPENBLAS_CORETYPE" in os.environ else blas_kernel()
    if kernel:
        os.environ["OPENBLAS_CORETYPE"] = kernel
    try:
        yield
    finally:
        if kernel:
            del os.environ["OPENBLAS_CORETYPE"]


class _NumPyLoader(importlib.machinery.SourceFileLoader):
    """Executes NumPy; then old code finds the names that were removed from it."""

    def exec_module(self, module):
        super().exec_module(module)
        from . import removed

        removed.give(module)


class Finder:
    """Finds the modules of MXNet, and NumPy, where Python does, and has our loaders load them."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] != "mxnet" and name != "numpy":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is importlib.machinery.SourceFileLoader:
            loader = {"numpy": _NumPyLoader, "mxnet": _PackageLoader}.get(name, _Loader)
            spec.loader = loader(spec.loader.name, spec.loader.path)
        return spec


def _forget_submodules():
    """Forget what an import that failed leaves behind, and what may have seen the wrong NumPy."""
    for name in [name for name in sys.modules if name.startswith("mxnet.")]:
        del sys.modules[name]


def install():
    """Import MXNet's modules like this from now on, later ones included.

    If MXNet is imported already, as older NumPys allow, its modules are patched.
    """
    if "mxnet" not in sys.modules:
        _forget_submodules()
    if Finder not in sys.meta_path:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mxnet"]:
            from . import patches

            patches.patch(sys.modules[name])
        sys.meta_path.insert(0, Finder)

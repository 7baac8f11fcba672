"""Run by Python at its start, if PYTHONPATH names this folder: old MXNet code works unedited.

The first import of MXNet or NumPy, and the first use of a name that `collections` lacks, call
`mlp_mx.runtime.everywhere`. Until then this costs next to nothing, and nothing else is imported.
"""

import collections
import importlib.machinery  # "from importlib.machinery import" imports warnings on Python 3.14
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


class Finder:
    """Has `mlp_mx.runtime` find MXNet and NumPy, and finds ``mlp_mx`` where this file is."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "mlp_mx":
            return importlib.machinery.PathFinder.find_spec(name, [PROJECT])
        if name in ("mxnet", "numpy"):
            from mlp_mx import runtime

            return runtime.everywhere().find_spec(name, path, target)
        return None


class LastFinder:
    """Has `mlp_mx.runtime` find ``distutils``, unless Python or setuptools does."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "distutils":
            from mlp_mx import runtime

            runtime.everywhere()
            # Its own finder comes too late: Python 3.14 looks through a copy of sys.meta_path.
            return runtime.removed.find_distutils()
        return None


def _old_name(name):
    """``collections.__getattr__`` until `mlp_mx.runtime` is there to answer."""
    if name.startswith("_"):
        raise AttributeError(f"module 'collections' has no attribute {name!r}")
    from mlp_mx import runtime

    del collections.__getattr__
    runtime.everywhere()
    return runtime.removed.lookup(collections, name, None, sys._getframe(1))


def _call_on():
    """Run the ``sitecustomize`` that Python would have run without this one."""
    folders = [folder for folder in sys.path if os.path.abspath(folder) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", folders)
    if spec:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


if sys.version_info >= (3, 9):
    sys.meta_path.insert(0, Finder)
    sys.meta_path.append(LastFinder)
    if "__getattr__" not in vars(collections):
        collections.__getattr__ = _old_name
_call_on()

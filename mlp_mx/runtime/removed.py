"""Names that Python and NumPy have removed, for old code alone: ``np.float``, ``distutils``, ….

Python calls a module's ``__getattr__`` for names that the module lacks. Ours looks at the caller:
old code gets what the name stood for; all other code gets the AttributeError. Nothing else in the
modules changes.
"""

import collections
import functools
import glob
import importlib
import importlib.machinery
import os
import re
import sys

__all__ = ["find_distutils", "give", "lookup", "names_of", "serve"]

# Modules, or packages as a whole, that get the names; and whether the script, the modules beside
# it, and all packages that import MXNet do.
packages = set()
everywhere = False


def serve(*names, everyone=False):
    """Let packages, or with `everyone` all old code, have the removed names from now on."""
    global everywhere
    packages.update(names)
    everywhere = everywhere or everyone
    for module in sys.modules.get("numpy"), collections:
        if module is not None:
            give(module)
    if _LastFinder not in sys.meta_path:
        sys.meta_path.append(_LastFinder)  # real ones, and setuptools' distutils, come first


@functools.lru_cache(maxsize=None)
def names_of(module_name):
    """What has been removed from a module: a dict from names to what they stood for."""
    if module_name == "collections":
        abstract = importlib.import_module("collections.abc")
        return {name: getattr(abstract, name) for name in abstract.__all__}
    from . import numpy_names

    return numpy_names.NAMES


def give(module):
    """Have `module`, ``numpy`` or `collections`, answer for the names that it lacks."""
    former = vars(module).get("__getattr__")
    if getattr(former, "is_ours", False):
        return

    def __getattr__(name):
        return lookup(module, name, former, sys._getframe(1))

    __getattr__.is_ours = True
    module.__getattr__ = __getattr__
    if module.__name__ == "numpy":
        from . import numpy_names

        module.fromstring = numpy_names.fromstring_for(_is_old)


def lookup(module, name, former, frame):
    """``module.name`` for the code in `frame`, where the module itself does not have it."""
    if not name.startswith("__"):
        names = names_of(module.__name__)
        if name in names and _is_old(frame):
            return names[name]
    if former:
        return former(name)
    raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")


def _is_old(frame):
    """Whether a frame runs old code: a served package, or anything of an old script's."""
    name, file = frame.f_globals.get("__name__") or "", frame.f_globals.get("__file__")
    top = name.partition(".")[0]
    if name in packages or top in packages:
        return True
    return everywhere and (
        top in ("__main__", "__mp_main__") or _is_beside(file) or _imports_mxnet(top))


def _is_beside(file):
    """Whether a module is the user's own: in the script's folder, and not installed there."""
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    if script is None or getattr(main, "__spec__", None) is not None:  # python -c, python -m
        folder = os.getcwd()
    else:
        folder = os.path.dirname(os.path.abspath(script))
    parts = os.path.abspath(file).split(os.sep) if file else []
    return parts[:folder.count(os.sep) + 1] == folder.split(os.sep) and not (
        {"site-packages", "dist-packages"} & set(parts))


@functools.lru_cache(maxsize=None)
def _imports_mxnet(top):
    """Whether a file of the package `top` imports MXNet."""
    module = sys.modules.get(top)
    files = [getattr(module, "__file__", None) or ""]
    for folder in getattr(module, "__path__", ()):
        files += glob.iglob(os.path.join(glob.escape(folder), "**", "*.py"), recursive=True)
    return any(map(_has_import, files))


def _has_import(file):
    try:
        with open(file, "rb") as source:
            return bool(re.search(rb"^[ \t]*(?:import|from)[ \t][^\n#]*\bmxnet\b",
                                  source.read(), re.MULTILINE))
    except OSError:
        return False


def find_distutils():
    """The spec of our ``distutils`` if old code asks for it, or None."""
    frame = sys._getframe(1)
    while frame and (frame.f_globals.get("__name__") or "").startswith(
            ("importlib", "_frozen_importlib", "sitecustomize", __name__)):
        frame = frame.f_back
    if frame and _is_old(frame):
        return importlib.machinery.PathFinder.find_spec("distutils", [os.path.dirname(__file__)])


class _LastFinder:
    """Finds ``distutils`` for old code where Python has none."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return find_distutils() if name == "distutils" else None

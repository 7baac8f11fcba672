"""MXNet's modules, each of which loads MXNet when something in it is first asked for.

The package's own modules import them from here: they can then be imported, and their commands can
answer ``--help``, in the time that Python takes, or where MXNet cannot be loaded at all.
"""

import types

from . import load

__all__ = ["autograd", "gluon", "mx", "nd"]


class _Lazy(types.ModuleType):
    """A module whose attributes are those of MXNet's module of that name."""

    def __getattr__(self, name):
        mx = load()
        module = mx if self.__name__ == "mxnet" else getattr(mx, self.__name__)
        return getattr(module, name)


mx, nd, autograd, gluon = map(_Lazy, ("mxnet", "nd", "autograd", "gluon"))

"""MXNet's modules for the package's own: each loads MXNet when something in it is first used.

So the package can be imported, and its commands print ``--help``, without MXNet.
"""

import types

from . import load

__all__ = ["autograd", "gluon", "mx", "nd"]


class _Lazy(types.ModuleType):
    """A module with the attributes of MXNet's module of that name."""

    def __getattr__(self, name):
        mx = load()
        module = mx if self.__name__ == "mxnet" else getattr(mx, self.__name__)
        return getattr(module, name)


mx, nd, autograd, gluon = map(_Lazy, ("mxnet", "nd", "autograd", "gluon"))

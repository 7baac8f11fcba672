"""MXNet's modules for the package's own: each loads MXNet when something in it is first used.

So the package can be imported, and its commands print ``--help``, without MXNet.
"""

from . import load

__all__ = ["autograd", "gluon", "mx", "nd"]


class _Lazy:
    """A module with the attributes of MXNet's module of that name."""

    __module__ = "mxnet"  # so `mlp_mx.fast` takes it for what it stands for
    __slots__ = ("_name", "__dict__")

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        mx = load()
        module = mx if self._name == "mxnet" else getattr(mx, self._name)
        self.__dict__ = vars(module)  # so that this is called no more
        return getattr(module, name)


mx, nd, autograd, gluon = map(_Lazy, ("mxnet", "nd", "autograd", "gluon"))

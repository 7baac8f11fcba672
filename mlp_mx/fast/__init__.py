"""Fast execution of any function of NDArrays: `traced` and `packed`.

`traced` executes a function as a graph. Autograd's tape records what the function computes in a
first call (``autograd.get_symbol``); a ``CachedOp`` executes it in all further calls of that kind,
in one call from Python. `packed` lays parameters out for speed, in one flat array: an `elementwise`
update is then one operation, and ``dot(X, W) + b`` becomes ``FullyConnected``, which calls oneDNN.
oneDNN knows newer CPUs than the OpenBLAS in MXNet's wheel, but needs its weights transposed.

Both work for any network, loss and loop. A function that cannot be traced runs as written, with one
warning that says why: because it reads values (``asnumpy``, ``asscalar``, ``if`` on an array),
changes its arguments, draws random numbers, or uses arrays without gradients that are not among its
arguments. Set ``MLP_MX_TRACE=0`` in the environment to turn all of this off.

A graph depends on what its function reads: numbers, strings, small lists, dicts and NumPy arrays,
and functions, in globals, closure variables, defaults and attributes, there and in the functions of
yours that it calls. If any of these changes, the function is traced again.

Limits: side effects happen only while a function is traced or compared. So NumPy's random numbers
are not drawn anew, and moving averages and the like are not updated. Changes in what it reads in
other ways, such as from a file or by ``getattr`` with a variable name, go unnoticed. The 10th,
100th, 1000th, … call of a kind is computed as written, too; a difference ends the graph, with a
warning. Graphs have no second derivatives.
"""

from .packed import add_scaled, elementwise, is_elementwise, packed
from .tracing import checking, traced

__all__ = ["add_scaled", "checking", "elementwise", "is_elementwise", "packed", "traced"]


def __dir__():
    return __all__

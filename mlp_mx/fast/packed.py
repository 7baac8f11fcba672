"""How parameters lie in memory while they are trained: in one row, matrices transposed."""

import collections.abc
import ctypes
import functools
import itertools
import os
import threading

import numpy as np

from .._support.functions import warn_of
from ..runtime.lazy import autograd, mx, nd

__all__ = ["add_scaled", "elementwise", "is_elementwise", "is_on", "packed", "place_of", "thread"]

_tokens = {}


class _Thread(threading.local):
    """The state of a thread.

    Attributes
    ----------
    packs : list of packed
        Those of the blocks that it is in, the innermost last.
    is_tracing : bool
    checking : str or None
        What `checking` was told.
    """

    def __init__(self):
        self.packs, self.is_tracing, self.checking, self.refusals = [], False, None, []


thread = _Thread()


def is_on():
    """Whether functions are traced and parameters packed: not with ``MLP_MX_TRACE=0``."""
    return os.environ.get("MLP_MX_TRACE", "1") != "0"


def place_of(array):
    """Return the layout that an array is packed in, and its number there; if none, (None, 0)."""
    for pack in thread.packs:
        layout = pack.layout
        if layout and id(array) in layout.numbers:
            return layout, layout.numbers[id(array)]
    return None, 0


def elementwise(update):
    """A decorator that marks an update as elementwise and stateless.

    The update gets `packed` parameters as one array, and their gradients as another. So do not mark
    one that computes something from a whole array, such as its norm.

    Parameters
    ----------
    update : callable
        ``update(params, lr)`` changes NDArrays in place, given their gradients.
    """

    @functools.wraps(update, updated=())
    def execute(params, *args, **kwargs):
        return update(params.flat() if isinstance(params, packed) else params, *args, **kwargs)

    execute.is_elementwise = execute  # and not True, which `functools.wraps` would pass on
    return execute


def is_elementwise(update):
    """Whether this update is marked as `elementwise`."""
    return getattr(update, "is_elementwise", None) is update


def add_scaled(array, scale, other):
    """``array += scale * other`` in one pass over the memory: axpy, as BLAS calls it.

    ``array[:] = array + scale * other`` passes over it three times, and takes ten times as long.

    Parameters
    ----------
    array, other : NDArray, float32, of one shape
    scale : float
    """
    if array.shape[:-1] != (1,):
        array, other = array.reshape((1, -1)), other.reshape((1, -1))
    # Matrix product of a 1 x 1 and a 1 x n matrix: gemm computes alpha * A B + beta * C at once.
    nd.linalg.gemm(_one(array.context), other, array, alpha=scale, beta=1, out=array)


@functools.lru_cache(maxsize=None)
def _one(ctx):
    return nd.ones((1, 1), ctx=ctx)


class packed(collections.abc.Sequence):
    """Parameters laid out for speed inside a ``with`` block: one array, matrices transposed.

    `traced` functions and `elementwise` updates, such as `mlp_mx.train.SGD`, work on that array.
    Inside the block, the arrays that were passed are out of date; at its end they have the trained
    values, and the gradients of the last step, even after an error.

    Any other use of the parameters, such as reading ``params[0]``, ends the layout: from there on,
    they are the arrays that were passed. That is slower, so there is one warning.
    Parameters that cannot be laid out (of several types or devices, or one array twice) are those
    arrays from the beginning.

    Parameters
    ----------
    params : sequence of NDArray
    update : callable, optional
        The update that will change them; by default, one that is `elementwise`. Any other works on
        the arrays that were passed.

    Examples
    --------
    >>> with packed([W, b]) as params:
    ...     for X, y in batches:
    ...         with autograd.record():
    ...             output = traced_loss(X, y, params)
    ...         output.backward()
    ...         train.SGD(params, 0.001)
    """

    def __init__(self, params, update=None):
        self._originals = list(params.originals if isinstance(params, packed) else params)
        self._update = update
        self._layout = None
        self._is_outermost = True

    def __enter__(self):
        ids = [*map(id, self._originals)]
        for outer in thread.packs:
            if [*map(id, outer.originals)] == ids:
                self._layout, self._is_outermost = outer.layout, False
            elif not {*ids}.isdisjoint(map(id, outer.originals)):
                outer.unpack()
        if self._update is not None and not is_elementwise(self._update):
            self.unpack()
        elif (self._is_outermost and is_on() and not thread.is_tracing
                and _fit(self._originals)):
            self._layout = _Layout(self._originals)
        thread.packs.append(self)
        return self

    def __exit__(self, *_):
        thread.packs.remove(self)
        if self._is_outermost:
            self.unpack()
            if self._layout:
                self._layout.merge_gradients()

    def __len__(self):
        return len(self._originals)

    def __getitem__(self, index):
        self._take_apart()
        return self._originals[index]

    def __iter__(self):
        self._take_apart()
        return iter(self._originals)

    @property
    def layout(self):
        """The `_Layout`, or None if the parameters are the arrays that were passed."""
        layout = self._layout
        return layout if layout and layout.is_valid else None

    @property
    def originals(self):
        """The arrays that were passed; out of date as long as there is a layout."""
        return self._originals

    def unpack(self):
        """From now on, the parameters are the arrays that were passed."""
        if self.layout:
            self._layout.unpack()

    def flat(self):
        """What an elementwise update changes: a list of one array, if there is a layout."""
        layout = self.layout
        if layout and layout.has_all_gradients():
            return layout.updated()
        if layout and not layout.is_used:  # whatever computed gradients, if anything did
            self.unpack()
        self._take_apart()
        return self._originals

    def _take_apart(self):
        """What comes now may be anything, so it gets the arrays that were passed."""
        if thread.is_tracing:
            return
        if self.layout:
            self.unpack()
            warn_of(self._update or packed, "packed parameters are used one by one, so the rest of "
                    "the block runs as written, 2 to 3 times slower; pass them only to fast.traced "
                    "functions and fast.elementwise updates, or do this after the block")
        if self._layout and not autograd.is_recording():
            self._layout.merge_gradients()


class _Layout:
    """The flat array, and the parameters as parts of it.

    Attributes
    ----------
    values : list of NDArray
        The parameters, those of two dimensions transposed.
    transposed : list of bool
    token : int
        The same for all layouts of parameters of these shapes.
    numbers : dict
        The number of each array that was passed, by its id.
    context : mxnet.Context
    is_valid : bool
        Whether the parameters are these, and not the arrays that were passed.
    is_used : bool
        Whether a graph of these values has been recorded since the last update.
    """

    def __init__(self, originals):
        self._originals = originals
        self._shapes = tuple(param.shape for param in originals)
        self.token = _tokens.setdefault(self._shapes, len(_tokens))
        self.transposed = [len(shape) == 2 for shape in self._shapes]
        self.numbers = {id(param): number for number, param in enumerate(originals)}
        self.context = originals[0].context
        self.is_valid, self.is_used, self._is_split, self._is_checked = True, False, False, False
        for param in originals:
            if param.grad is not None:
                param._fresh_grad = False
        with autograd.pause():
            self._whole = nd.empty((1, sum(param.size for param in originals)), self.context)
            self.values = self._parts(self._whole)
            self._fill(self.values, originals)
        self._grad_reqs = ["null"] * len(originals)
        self._has_gradients, self._is_updated, self._elsewhere = False, False, {}

    def _attach_gradients(self):
        """Let the values have gradients like the arrays that were passed; evaluation needs none."""
        self._has_gradients = True
        with autograd.pause():
            self._grad_reqs = _grad_reqs(self._originals)
            self._whole.attach_grad()
            grads = self._parts(self._whole.grad)
            self._fill(grads, [param.grad for param in self._originals])
        for number, req in enumerate(self._grad_reqs):
            if req == "null":  # With a weight of "null", oneDNN's gradient of the bias is wrong.
                grads[number] = nd.zeros_like(grads[number])
        autograd.mark_variables(self.values, grads, [
            "write" if req == "null" else req for req in self._grad_reqs])

    def _fill(self, parts, arrays):
        for part, array, mark in zip(parts, arrays, self.transposed):
            if array is not None:
                (array.T if mark else array).copyto(part)

    def _parts(self, whole):
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        ends, row = itertools.accumulate(sizes), whole[0]
        return [row[end - size:end].reshape(shape[::-1] if mark else shape)
                for end, size, shape, mark in zip(ends, sizes, self._shapes, self.transposed)]

    def used(self, ctx, is_recorded):
        """The values on a device, for a graph; if it is another one, copies until an update."""
        if is_recorded:
            self.is_used = True
            if not self._has_gradients:
                self._attach_gradients()
        if ctx is None or ctx == self.context:
            return self.values
        if is_recorded or ctx not in self._elsewhere:  # gradients must pass through the copies
            self._elsewhere[ctx] = [value.as_in_context(ctx) for value in self.values]
        return self._elsewhere[ctx]

    def has_all_gradients(self):
        """Whether no gradients were computed of the arrays that were passed, as far as seen."""
        if not self.is_used:
            return False
        if not self._is_checked:  # MXNet marks an array whose gradient has been computed
            self._is_checked = True
            return not any(map(_has_fresh_gradient, self._originals))
        return True

    def updated(self):
        """A list of the flat array, for an update that will change it."""
        self.is_used, self._is_updated = False, True
        self._elsewhere.clear()
        return [self._whole]

    def write_back(self):
        """Copy values and gradients to the arrays that were passed."""
        with autograd.pause():
            for param, value, req, mark in zip(
                    self._originals, self.values, self._grad_reqs, self.transposed):
                if self._is_updated:  # not after an evaluation
                    (value.T if mark else value).copyto(param)
                if req != "null":
                    (value.grad.T if mark else value.grad).copyto(param.grad)

    def unpack(self):
        """Let the arrays that were passed be the parameters.

        In a step in which a graph has used the values already, gradients will come to both.
        """
        fresh = [param.grad.copy() if _has_fresh_gradient(param) else None
                 for param in self._originals]
        self.write_back()
        self.is_valid, self._is_split = False, self.is_used and autograd.is_recording()
        for param, req, grad in zip(self._originals, self._grad_reqs, fresh):
            if grad is not None:
                param.grad[:] = grad if not self.is_used else grad + param.grad
            elif self._is_split and req == "write":
                param.grad[:] = 0

    def merge_gradients(self):
        """Add the gradients that came to the values to those of the arrays that were passed."""
        if self._is_split:
            self._is_split = False
            for param, value, req, mark in zip(
                    self._originals, self.values, self._grad_reqs, self.transposed):
                if req != "null":
                    param.grad[:] += value.grad.T if mark else value.grad


def _has_fresh_gradient(param):
    """Whether autograd has written a gradient since a layout was made."""
    return param.grad is not None and param._fresh_grad


def _fit(params):
    """Whether these arrays can be laid out as one."""
    alike = {(type(param), getattr(param, "dtype", None), getattr(param, "context", None))
             for param in params}
    return (len(alike) == 1 and type(params[0]) is nd.NDArray and params[0].dtype == np.float32
            and all(param.shape and param.size for param in params) and not _overlap(params))


def _overlap(arrays):
    """Whether arrays share memory: one of them is there twice, or is a view of another."""
    spans = sorted(map(_span, arrays))
    return any(start + size > following for (start, size), (following, _) in zip(spans, spans[1:]))


def _span(array):
    """The address and the size in bytes of an array's memory."""
    address = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    return address.value, array.size * np.dtype(array.dtype).itemsize


def _grad_reqs(params):
    """What each parameter's gradients do, "write", "add" or "null": MXNet tells by doing it."""
    active = [param for param in params if param.grad is not None]
    with autograd.pause():
        kept = [(param.grad.copy(), param._fresh_grad) for param in active]
    for param in active:
        param.grad[:] = 1
    other = nd.zeros_like(params[0])  # there may be no other variable to differentiate by
    other.attach_grad()
    with autograd.record():
        firsts = [_first(param) for param in [*active, other]]
    grads = [param.grad for param in active]
    autograd.backward(firsts, [2 * nd.ones_like(first) for first in firsts])
    results = nd.concat(*[_first(grad).reshape(-1) for grad in [*grads, other]], dim=0).asnumpy()
    found = {}
    for param, grad, (before, is_fresh), result in zip(active, grads, kept, results):
        req = {1: "null", 2: "write", 3: "add"}[result]
        before.copyto(grad)
        if req == "null":  # which MXNet has forgotten
            param.attach_grad(grad_req=req)
        else:
            param._fresh_grad = is_fresh
        found[id(param)] = req
    return [found.get(id(param), "null") for param in params]


def _first(array):
    """An array's first number, as an array of as many dimensions."""
    return nd.slice(array, begin=(0,) * array.ndim, end=(1,) * array.ndim)

"""Fast execution: run a function of NDArrays once, and from then on execute the graph it computed.

`traced` and `Replica` are to MXNet 1.x what ``jax.jit`` is to JAX. Autograd's tape records what the
function computed on a first batch (``autograd.get_symbol``); a ``CachedOp`` executes it on all
further batches of that shape, in one call from Python. This module knows no network, loss or
update: edit or replace one, and the new one runs.

What else makes training fast on a CPU, with MXNet 1.9.1:

- ``dot(X, W) + b`` becomes ``FullyConnected``, which calls oneDNN. oneDNN knows newer CPUs than the
  OpenBLAS in MXNet's wheel does, but wants its weights as (outputs, inputs). So a `Replica` works
  on transposed copies of the parameters, and copies them back after the epoch.
- These copies are slices of one array, and so are their gradients: an `elementwise` update is then
  one operation.

Limits, which are those of any tracer: Python code runs once per shape, so that what it prints,
counts, keeps (such as moving averages) or draws at random with NumPy happens once. Functions that
read values (``asnumpy``, ``asscalar``, ``if`` on an array), change their arguments, draw at random
with MXNet, or use arrays that are neither arguments nor computed from them run as they are written,
with a warning, and once more than they would without this module. Graphs have no second
derivatives.
"""

import contextlib
import functools
import itertools
import json
import threading
import weakref

import numpy as np

from . import InputError
from ._support.networks import (
    FAILURES, computed, flat, functions_of, name_of, reason_of, warn_of,
)
from .runtime.lazy import autograd, mx, nd

__all__ = ["Replica", "add_scaled", "elementwise", "in_turn", "is_elementwise", "traced"]

# Of the norms: a graph whose values or gradients differ by more computes something else. Rounding
# alone changes gradients where a relu's input is so near 0 that its sign depends on it, and where
# they cancel to 0, as those of a bias do before the batch's mean is subtracted.
TOLERANCE = 1e-3
GRADIENT_TOLERANCE, OF_THE_LARGEST = 3e-2, 1e-5
_tracing = threading.RLock()  # held while ``NDArray.asnumpy`` is replaced
_thread = threading.local()  # has `is_tracing` while this thread traces


class _Known:
    """Functions of which something is known, as long as they exist."""

    def __init__(self):
        self._functions = weakref.WeakValueDictionary()  # by id, since some have no hash

    def has(self, function):
        """Whether all that a function is made of has been added."""
        return all(self._functions.get(id(one)) is one for one in functions_of(function))

    def add(self, function):
        with contextlib.suppress(TypeError):  # of objects that have no weak references
            self._functions.update({id(one): one for one in functions_of(function)})


_warned = _Known()  # to run as they are written


class _Untraceable(Exception):
    """A function that the tape does not record; the message says why."""


def traced(function):
    """Execute a function of NDArrays as a graph: a decorator, as ``jax.jit`` is.

    Parameters
    ----------
    function : callable
        Its arguments are NDArrays and lists of NDArrays, its result is one NDArray. It may be
        called under ``autograd.record``.

    Returns
    -------
    callable
        With the same arguments and result. The function runs once for each combination of the
        arguments' shapes and types; see the module's docstring for what that means.

    Warns
    -----
    UserWarning
        Once, if the function cannot be traced, and so runs as it is written.

    Examples
    --------
    >>> @traced
    ... def layer(X, W, b):
    ...     return nd.tanh(nd.dot(X, W) + b)
    """
    graphs = {}

    @functools.wraps(function)
    def execute(*args):
        if hasattr(_thread, "is_tracing"):  # a function that calls this one
            return function(*args)
        arrays = flat(args)
        key = _key(arrays), *[isinstance(arg, (list, tuple)) and len(arg) for arg in args]
        if key not in graphs:
            graphs[key] = _graph(function, args)
        graph = graphs[key]
        return computed(function, *args) if graph is None else graph(arrays)

    return execute


def elementwise(update):
    """Mark an update as elementwise and stateless: a decorator.

    Such an update may be given all parameters, and all gradients, as one array. So do not mark one
    that computes something of a whole array, such as its norm.

    Parameters
    ----------
    update : callable
        ``update(params, lr)`` changes NDArrays in place, given their gradients.
    """
    update.elementwise = update  # and not True, which `functools.wraps` would pass on to others
    return update


def is_elementwise(update):
    """Whether this update is marked as `elementwise`."""
    return getattr(update, "elementwise", None) is update


def add_scaled(array, scale, other):
    """``array += scale * other`` in one pass over the memory: axpy, as BLAS calls it.

    ``array[:] = array + scale * other`` passes over it three times, and takes ten times as long.

    Parameters
    ----------
    array, other : NDArray, float32, of one shape
    scale : float
    """
    # Matrix product of a 1 x 1 and a 1 x n matrix: gemm computes alpha * A B + beta * C at once.
    row = array.reshape((1, -1))
    nd.linalg.gemm(
        _one(array.context), other.reshape((1, -1)), row, alpha=scale, beta=1, out=row)


@functools.lru_cache(maxsize=None)
def _one(ctx):
    return nd.ones((1, 1), ctx=ctx)


class Replica:
    """Parameters on one device, and a function of a batch and of them, executed as a graph.

    As a context manager it copies the parameters back at the end, even after an error.

    Parameters
    ----------
    function : callable
        ``function(*batch, params)``, where a batch is some NDArrays, returns an NDArray.
    params : list of NDArray, float32
        As `function` takes them.
    ctx : mxnet.Context, optional
        By default that of the parameters.
    update : callable, optional
        What will change the parameters, as ``update(replica.params, lr)``. If it is `elementwise`,
        it changes a copy; otherwise, the parameters themselves, unless they are on another device.

    Attributes
    ----------
    params : list of NDArray
        For the update: one array that holds all parameters, or a list of them.
    ctx : mxnet.Context
    """

    def __init__(self, function, params, ctx=None, update=None):
        self.ctx = ctx or params[0].context
        self._function = function
        self._originals = params
        self._is_training = update is not None
        self._graphs = {}
        are_alike = len({(param.dtype, param.context) for param in params}) == 1
        if are_alike and (update is None or is_elementwise(update)):
            self._work_on_copies()
        else:
            self._work_on_originals()

    def _work_on_copies(self):
        """Lay the parameters out in one array, those of two dimensions transposed."""
        whole = nd.concat(*[param.T.reshape(-1) for param in self._originals], dim=0)
        whole = whole.as_in_context(self.ctx)
        shapes = [param.shape[::-1] for param in self._originals]
        self._transposed = [len(shape) > 1 for shape in shapes]
        self._values = _slices(whole, shapes)
        self.params = [whole]
        if self._is_training:
            whole.attach_grad()
            autograd.mark_variables(self._values, _slices(whole.grad, shapes))

    def _work_on_originals(self):
        self._transposed = [False] * len(self._originals)
        self._values = self.params = [param.as_in_context(self.ctx) for param in self._originals]
        for value in self._values:
            if self._is_training and value.grad is None:
                value.attach_grad()

    def __call__(self, *batch):
        """The function's result for a batch of NDArrays, and for the parameters as they are now."""
        batch = [array.as_in_context(self.ctx) for array in batch]
        key = _key(batch)
        if key not in self._graphs:
            self._graphs[key] = self._traced(batch)
        if None not in self._graphs.values():
            return self._graphs[key]([*batch, *self._values])
        # Now as written, batches of other shapes, too. Functions may have arrays of their own on
        # the parameters' device, so all evaluation is done there; and they may change a batch.
        if not self._is_training:
            self.ctx = self._originals[0].context
        if not (self._is_training and self._values is self.params):
            self._work_on_originals()
        batch = [array.as_in_context(self.ctx).copy() for array in batch]
        return computed(self._function, *batch, self._values)

    def _traced(self, batch):
        """The graph for batches of such shapes, if there can be one; traced on the originals."""
        self.copy_to(self._originals)
        home = self._originals[0].context
        batch = [array.as_in_context(home) for array in batch]
        return _graph(self._function, (*batch, self._originals),
                      [False] * len(batch) + self._transposed, num_params=len(self._originals))

    def sum_gradients(self):
        """Sum the gradients over all devices: here there is one."""

    def copy_to(self, params):
        """Write the parameters, and the gradients of the last batch, to arrays as `params` were."""
        with autograd.pause():
            for param, value, is_transposed in zip(params, self._values, self._transposed):
                if value is param:
                    continue
                (value.T if is_transposed else value).copyto(param)
                if param.grad is not None and value.grad is not None:
                    (value.grad.T if is_transposed else value.grad).copyto(param.grad)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.copy_to(self._originals)


def in_turn(function, params, contexts):
    """Yield `Replica` objects on these devices in turn, for ever; for a CPU, on two of its queues.

    What is computed on one CPU context and on another is computed at the same time.
    """
    if len(contexts) == 1 and contexts[0].device_type == "cpu":
        contexts = [mx.cpu(0), mx.cpu(1)]
    replicas = [Replica(function, params, ctx) for ctx in contexts]
    for replica in replicas:
        replica._graphs = replicas[0]._graphs  # traced once for all
    return itertools.cycle(replicas)


def _slices(whole, shapes):
    """Cut a flat array into arrays of some shapes, which share its memory."""
    ends = np.cumsum([np.prod(shape) for shape in shapes]).tolist()
    return [whole[start:end].reshape(shape) for start, end, shape in zip([0, *ends], ends, shapes)]


def _like(args, arrays):
    """These arrays as arguments of the structure of `args`."""
    arrays = iter(arrays)
    return [[next(arrays) for _ in arg] if isinstance(arg, (list, tuple)) else next(arrays)
            for arg in args]


def _key(arrays):
    """What a graph depends on, besides the function."""
    return autograd.is_recording(), autograd.is_training(), *[
        (array.shape, array.dtype) for array in arrays]


def _graph(function, args, transposed=None, num_params=0):
    """A callable that computes ``function(*args)`` from a flat list of such arrays.

    Those marked as `transposed` will be given as their transposes. The function is traced on copies
    of all but the last arrays, `num_params` parameters, which it may have from elsewhere. None,
    with a warning, if the function has to run as it is written.
    """
    arrays = flat(args)
    transposed = transposed or [False] * len(arrays)
    key = _key(arrays)
    with autograd.pause(train_mode=autograd.is_training()):
        before = [array.copy() for array in arrays]
        num_copied = len(arrays) - num_params
        variables = [_variable(array) if place < num_copied or array.grad is None else array
                     for place, array in enumerate(arrays)]
        try:
            result, tape, positions = _record(function, args, variables)
            shapes = [array.shape for array in arrays]
            graph = _compiled(_rewritten(tape, positions, shapes, transposed), key)
            if not graph.verified.has(function):  # another may have the same tape, and do more
                _verify(graph, result, before, variables, transposed, with_gradients=key[0])
                graph.verified.add(function)
            return graph
        except InputError:  # the function does not fit its arguments
            raise
        except _Untraceable as reason:
            _warn(function, reason)
        except FAILURES as error:  # such as an operator that has no gradient
            _warn(function, reason_of(error))
        finally:
            for variable, value in zip(variables, before):  # which the function may have changed
                variable[:] = value
        return None


def _warn(function, reason):
    """Warn of a function that runs as written, once."""
    if not _warned.has(function):
        _warned.add(function)
        warn_of(function, f"running {name_of(function)} as written, which takes two to three times "
                f"as long as a graph: {reason}")


def _record(function, args, variables):
    """The function's result, what the tape says of it, and each variable's position by its name."""
    with autograd.record(train_mode=autograd.is_training()):
        result = _result(function, args, variables)
        identities = [nd.identity(variable) for variable in variables]
    names = [autograd.get_symbol(identity).list_inputs()[0] for identity in identities]
    if not isinstance(result, nd.NDArray):
        raise _Untraceable("the result is not one array")
    tape = json.loads(autograd.get_symbol(result).tojson())
    return result, tape, {name: position for position, name in reversed([*enumerate(names)])}


def _result(function, args, variables):
    """What the function computes of these variables; an `InputError` if they do not fit it."""
    args = _like(args, variables)
    try:
        with _reading_refused() as refusals:
            result = function(*args)
        if refusals:  # although the function has caught that
            raise refusals[0]
        return result
    except FAILURES as error:
        reason = reason_of(error)
    with autograd.pause():
        computed(function, *args)  # which fails, too, unless it is the recording
    raise _Untraceable(reason)


def _variable(array):
    """A copy with a gradient."""
    variable = array.copy()
    variable.attach_grad()
    return variable


@contextlib.contextmanager
def _reading_refused():
    """Let this thread read no array's values, on which the rest of its graph might depend.

    Yields a list of the refusals.
    """
    with _tracing:
        refusals, asnumpy = [], nd.NDArray.asnumpy

        def refuse(self):
            if not hasattr(_thread, "is_tracing"):
                return asnumpy(self)
            refusals.append(_Untraceable(
                "an array's values are read, and no gradient passes through them"))
            raise refusals[0]

        nd.NDArray.asnumpy, _thread.is_tracing = refuse, True
        try:
            yield refusals
        finally:
            nd.NDArray.asnumpy = asnumpy
            del _thread.is_tracing


def _rewritten(tape, positions, shapes, transposed):
    """The tape as a graph whose variables are named by position, some of them given transposed.

    There, ``dot(X, W)`` and ``dot(X, W) + b`` are ``FullyConnected``; whatever else uses such a W
    gets it transposed back.
    """
    count = len(shapes)
    variables = range(count)
    nodes = [_node("null", f"{position}", []) for position in variables]
    nodes += [_node("transpose", f"{position}.T", [[position, 0, 0]]) for position in variables]
    uses = [source for node in tape["nodes"] for source, *_ in node["inputs"]]
    places = []  # of the tape's nodes in the graph
    for number, node in enumerate(tape["nodes"]):
        if node["op"] == "null":
            if node["name"] not in positions:
                raise _Untraceable("it uses an array, such as a constant, that is neither an "
                                   "argument nor computed from one; such arrays are not trained")
            position = positions[node["name"]]
            places.append(position + count * transposed[position])
            continue
        inputs = [[places[source], *rest] for source, *rest in node["inputs"]]
        if node["op"] == "Flatten" and len(dict(enumerate(shapes)).get(inputs[0][0], ())) == 2:
            places.append(inputs[0][0])  # flat already; the operation would copy it
            continue
        alone = [uses.count(source) == 1 for source, *_ in node["inputs"]]
        attrs = node.get("attrs", {})
        places.append(len(nodes))
        nodes.append(
            _product(node["op"], attrs, inputs, shapes)
            or _biased_product(node["op"], inputs, alone, nodes, shapes)
            or _node(node["op"], f"node{number}", inputs, attrs))
    heads = [[places[source], *rest] for source, *rest in tape["heads"]]
    return json.dumps({"nodes": nodes, "arg_nodes": [*variables], "heads": heads,
                       "attrs": tape["attrs"]})


def _node(op, name, inputs, attrs=()):
    return {"op": op, "name": name, "inputs": inputs, "attrs": dict(attrs)}


def _product(op, attrs, inputs, shapes):
    """``FullyConnected`` in the place of ``dot(X, W)``, if W is a variable given transposed."""
    if op != "dot" or attrs:
        return None
    X, (W, *_) = inputs
    position = W - len(shapes)
    if not 0 <= position < len(shapes) or len(shapes[position]) != 2:
        return None
    attrs = {"num_hidden": f"{shapes[position][1]}", "no_bias": "True", "flatten": "False"}
    return _node("FullyConnected", f"dot{position}", [X, [position, 0, 0]], attrs)


def _biased_product(op, inputs, alone, nodes, shapes):
    """``FullyConnected`` with a bias, in the place of the sum of one without and of a variable."""
    if op != "broadcast_add":
        return None
    for product, bias in (0, 1), (1, 0):
        node, position = nodes[inputs[product][0]], inputs[bias][0]
        if (node["op"] == "FullyConnected" and node["attrs"].get("no_bias") == "True"
                and alone[product] and position < len(shapes)
                and f"{shapes[position]}" == f"({node['attrs']['num_hidden']},)"):
            return _node("FullyConnected", f"{node['name']}+{position}",
                         [*node["inputs"], inputs[bias]], {**node["attrs"], "no_bias": "False"})
    return None


@functools.lru_cache(maxsize=64)
def _compiled(graph, key):
    """The operation that computes a graph, for arrays of some shapes."""
    return _Compiled(mx.sym.load_json(graph), is_recorded=key[0])


class _Compiled:
    """A graph as a function of a list of arrays."""

    def __init__(self, symbol, is_recorded):
        self._positions = [int(name) for name in symbol.list_inputs()]
        flags = [("static_alloc", True)]
        if not is_recorded:  # without bulking, graphs on two CPU contexts run at the same time
            flags.append(("forward_bulk_size", 1))
        self._op = nd.CachedOp(symbol, flags=flags)
        self.verified = _Known()  # to compute what the graph computes

    def __call__(self, arrays):
        return self._op(*[arrays[position] for position in self._positions])


def _verify(graph, result, before, variables, transposed, with_gradients):
    """Make sure that a graph computes what its function did, and the same gradients.

    It is given what the variables were before, and must leave it as the function left them.
    """
    given = [_variable(array.T if mark else array) for array, mark in zip(before, transposed)]
    with autograd.record() if with_gradients else contextlib.nullcontext():
        results = [graph(given), result]
    _check_alike([results], TOLERANCE)
    _check_alike([(new.T if mark else new, variable)
                  for new, variable, mark in zip(given, variables, transposed)], TOLERANCE)
    if with_gradients:
        kept = [variable.grad.copy() for variable in variables]
        autograd.backward(results)
        gradients = [(new.grad.T if mark else new.grad, variable.grad.copy())
                     for new, variable, mark in zip(given, variables, transposed)]
        for variable, grad in zip(variables, kept):
            variable.grad[:] = grad
        _check_alike(gradients, GRADIENT_TOLERANCE, OF_THE_LARGEST)


def _check_alike(pairs, tolerance, of_the_largest=0):
    """Raise `_Untraceable` if two arrays differ by more than their norm, or the largest, allows."""
    pairs = [(found.asnumpy(), expected.asnumpy()) for found, expected in pairs]
    norms = [np.linalg.norm(expected) for _, expected in pairs]
    least = of_the_largest * max(filter(np.isfinite, norms), default=0)
    for (found, expected), norm in zip(pairs, norms):
        # Not ">", which is false for NaN.
        if np.isfinite(norm) and not np.linalg.norm(found - expected) <= tolerance * norm + least:
            raise _Untraceable("the graph gives other results than the function, as it does if "
                               "that draws random numbers")

"""Run a function of NDArrays once, and from then on execute the graph that it computed."""

import contextlib
import functools
import json
import threading
import weakref

import numpy as np

from .._support.errors import InputError
from .._support.functions import FAILURES, computed, name_of, parts_of, reason_of, warn_of
from ..runtime.lazy import autograd, nd
from .graph import Graph, Untraceable, rewritten
from .packed import is_on, packed, place_of, thread
from .surroundings import Surroundings, described

__all__ = ["checking", "traced"]

# Relative tolerances for accepting a graph, of the norms of values and of gradients. Rounding alone
# changes gradients where a relu's input is so near 0 that its sign depends on it, and where they
# cancel to 0, as those of a bias do before the batch's mean is subtracted.
TOLERANCE = 1e-3
GRADIENT_TOLERANCE, OF_THE_LARGEST = 3e-2, 1e-5
MANY = 8  # graphs of one function, from which on each must have been executed as often
AHEAD = 3000000  # numbers in arguments; after so many, Python waits for an earlier result,
CALLS_AHEAD = 256  # and at the latest after so many calls
DIFFERENT = ("gives different results as a graph, as functions that draw random numbers or change "
             "their arguments do")
_warned = weakref.WeakSet()


def traced(function):
    """A decorator that executes a function of NDArrays as a graph, as ``jax.jit`` does in JAX.

    Parameters
    ----------
    function : callable
        Takes NDArrays, lists, tuples and dicts of them, `packed` parameters, and anything else, by
        position or keyword. Returns one NDArray. It may be called under ``autograd.record``.

    Returns
    -------
    callable
        With the same arguments and result. The function itself runs once for each combination of
        shapes, types and other arguments, and again whenever something that it reads changes:
        globals, closure variables, defaults, attributes, or functions that it calls. Some later
        calls are computed both ways and compared, less and less often.

    Raises
    ------
    InputError
        If the function cannot be computed from its arguments.

    Warns
    -----
    UserWarning
        Once, if the function cannot be traced, and so runs as written.

    Examples
    --------
    >>> @traced
    ... def layer(X, W, b):
    ...     return nd.tanh(nd.dot(X, W) + b)
    """
    if getattr(function, "traced_id", None) == id(function) or not is_on():
        return function
    graphs = _Graphs(function)

    @functools.wraps(function, updated=())
    def execute(*args, **kwargs):
        # Called by a function that is being traced, it is a part of that.
        if thread.is_tracing:
            return function(*args, **kwargs)
        return graphs.compute(args, kwargs)

    execute.traced_id = id(execute)  # and not True, which `functools.wraps` would pass on to others
    execute.runs_as_written = graphs.runs_as_written
    return execute


@contextlib.contextmanager
def checking(where):
    """Compare traced calls with the functions as written; messages name the call by `where`."""
    thread.checking = where
    try:
        yield
    finally:
        thread.checking = None


class _Graphs(threading.local):
    """The graphs of one function, for one thread: MXNet lets no two execute the same one."""

    def __init__(self, function):
        self._function = function
        self._surroundings = Surroundings(function)
        self._graphs = {}
        self._num_ahead = 0
        self._is_as_written = False
        self._under_way = None

    def runs_as_written(self):
        """Whether there can be no graph, as far as is known."""
        return self._is_as_written

    def compute(self, args, kwargs):
        """The function's result, by a graph if there can be one."""
        result = self._computed(args, kwargs)
        self._num_ahead += AHEAD // CALLS_AHEAD
        if self._num_ahead >= AHEAD:
            self._num_ahead = 0
            self._keep_pace(result)
        return result

    def _computed(self, args, kwargs):
        if self._is_as_written:
            return self._as_written(args, kwargs)
        try:
            call = _Call(self._function, self._surroundings, args, kwargs)
            graph = self._graphs.get(call.key)
            if graph is None:
                num_calls = sum(graph.calls for graph in self._graphs.values())
                if len(self._graphs) >= MANY and num_calls < MANY * len(self._graphs):
                    self._warn(f"was called with {len(self._graphs) + 1} combinations of shapes "
                               f"and values in {num_calls + 1} calls, so new combinations run "
                               "as written")
                    return self._as_written(args, kwargs)
                graph = self._graphs[call.key] = call.trace()
            elif graph.is_due() or thread.checking:
                call.compare(graph)
            self._num_ahead += graph.size
            return call.execute(graph)
        except Untraceable as reason:
            self._is_as_written = True
            self._graphs.clear()
            self._warn(f"{reason}, so it runs as written, 2 to 3 times slower")
            return self._as_written(args, kwargs)

    def _as_written(self, args, kwargs):
        """The function's own result, from the arrays that were passed."""
        arrays = [*self._surroundings.arrays]
        _mapped([args, kwargs], arrays.append)
        self._num_ahead += sum(array.size for array in arrays)
        uses_packed = any(place_of(array)[0] for array in arrays)
        for pack in thread.packs:
            # A network comes first in a step; what comes later without them is a loss.
            if uses_packed or (pack.layout and not pack.layout.is_used):
                pack.unpack()
        home = thread.packs[-1].originals[0].context if thread.packs else None
        args, kwargs = (_mapped(value, lambda array: _at_home(array, home))
                        for value in (args, kwargs))
        return computed(self._function, *args, **kwargs)

    def _warn(self, reason):
        """Warn once for each function."""
        function = parts_of(self._function)
        with contextlib.suppress(TypeError):  # of objects without hashes or weak references
            if function in _warned:
                return
            _warned.add(function)
        warn_of(function, f"{name_of(function)} {reason}")

    def _keep_pace(self, result):
        """Wait for an earlier result: if Python runs far ahead of the device, memory grows."""
        if isinstance(result, nd.NDArray):
            if self._under_way is not None:
                self._under_way.wait_to_read()
            self._under_way = result.detach()


def _mapped(value, function):
    """A value with `function` applied to its NDArrays, in lists, tuples and dicts, too."""
    if isinstance(value, packed):
        value = value.originals
    if type(value) in (list, tuple):
        return type(value)(_mapped(item, function) for item in value)
    if type(value) is dict:
        return {name: _mapped(item, function) for name, item in value.items()}
    return function(value) if isinstance(value, nd.NDArray) else value


def _at_home(array, home):
    """An array on the device of the parameters, if it is on another queue of the same CPU."""
    is_beside = home and array.context.device_type == home.device_type == "cpu"
    return array.as_in_context(home) if is_beside else array


class _Call:
    """A call of a function, as a flat list of its arrays and a description of everything else.

    Attributes
    ----------
    key : tuple
        What a graph depends on.
    """

    def __init__(self, function, surroundings, args, kwargs):
        self._function, self._surroundings = function, surroundings
        self._args, self._kwargs = args, kwargs
        self._arrays, self._places = [], []  # for each array, its layout and its number in that
        self.key = (
            autograd.is_recording(), autograd.is_training(), tuple(map(self._describe, args)),
            self._describe(kwargs) if kwargs else None, surroundings.token(),
            *[pack.layout and pack.layout.token for pack in thread.packs])
        self._num_arguments = len(self._arrays)

    def _describe(self, value):
        """Collect the arrays in a value; return what else there is of it, hashable."""
        if type(value) is nd.NDArray:
            layout, number = place_of(value)
            self._add(value, layout, number)
            return (number, layout.token) if layout else (value.shape, value.dtype)
        if type(value) is packed and value.layout:
            layout = value.layout
            self._arrays += value.originals
            self._places += [(layout, number) for number in range(len(value.originals))]
            return packed, layout.token
        if isinstance(value, packed):
            value = value.originals
        if type(value) in (list, tuple):
            return type(value), tuple(map(self._describe, value))
        if type(value) is dict:
            return dict, tuple((name, self._describe(item)) for name, item in value.items())
        if isinstance(value, (nd.NDArray, np.ndarray)):
            raise Untraceable(f"takes an array of type {type(value).__module__}."
                              f"{type(value).__name__}, not an NDArray")
        return described(value)

    def _add(self, array, layout, number):
        self._arrays.append(array)
        self._places.append((layout, number))

    def _add_surroundings(self, graph=None):
        """Add the arrays that the function may have from elsewhere, such as globals.

        For a graph, parameters are left out that it does not use.
        """
        self._add_others(self._surroundings.arrays)
        if graph is None or graph.num_arrays > len(self._arrays):
            for pack in thread.packs:
                self._add_others(pack.originals)

    def _add_others(self, arrays):
        known = {*map(id, self._arrays[self._num_arguments:])}
        for array in arrays:
            if id(array) not in known and type(array) is nd.NDArray and array.grad is not None:
                known.add(id(array))
                self._add(array, *place_of(array))

    def execute(self, graph):
        """The graph's result, on the device of the first argument."""
        if graph.num_arrays > len(self._arrays):
            self._add_surroundings(graph)
        given = [self._arrays[position] for position in graph.positions]
        places = [self._places[position] for position in graph.positions]
        layouts = {layout for layout, _ in places if layout}
        if layouts or graph.num_arrays > self._num_arguments:
            ctx = next((array.context for array, (layout, _) in zip(given, places) if not layout),
                       None)
            values = {layout: layout.used(ctx, self.key[0]) for layout in layouts}
            for index, (layout, number) in enumerate(places):
                if layout:
                    given[index] = values[layout][number]
                elif graph.positions[index] >= self._num_arguments:
                    given[index] = given[index].as_in_context(ctx)
        graph.calls += 1
        return graph(given)

    def trace(self):
        """The function's graph, if it computes what the function does."""
        self._wait()
        try:
            with self._recorded() as (result, variables, before):
                if not isinstance(result, nd.NDArray):
                    raise Untraceable("does not return one NDArray")
                graph = self._graph(result, variables)
                self._verify(graph, result, variables, before)
                return graph
        except InputError:  # the function does not fit its arguments
            raise
        except FAILURES as error:  # such as an operator that has no gradient
            raise Untraceable(f"cannot be traced ({reason_of(error)})") from error

    def compare(self, graph):
        """Raise `Untraceable` if the function no longer computes what its graph does."""
        self._wait()
        where = thread.checking or f"call {graph.calls + 1} with these shapes"
        if graph.is_due():
            graph.next_check *= 10
        try:
            with self._recorded(graph) as (result, variables, before):
                self._verify(graph, result, variables, before)
        except Untraceable:
            raise Untraceable(f"gives different results from its graph in {where} (results since "
                              "the last comparison may be wrong)") from None

    def _wait(self):
        for array in self._arrays:
            array.wait_to_read()  # or raise the error of what was computed before

    @contextlib.contextmanager
    def _recorded(self, graph=None):
        """Yield the function's result, the variables that it got, and what they were before.

        The function gets copies of its arguments. Whatever it changes is restored at the end.
        """
        for pack in thread.packs:
            if pack.layout:
                pack.layout.write_back()
        self._add_surroundings(graph)
        home = self._arrays[-1].context  # a parameter's, if there is one
        is_training = autograd.is_training()
        with autograd.pause(train_mode=is_training):
            before = [_at_home(array, home).copy() for array in self._arrays]
            variables = [_variable(array) for array in before[:self._num_arguments]]
            variables += self._arrays[self._num_arguments:]
            try:
                with autograd.record(train_mode=is_training):
                    result = self._result(variables)
                yield result, variables, before
            finally:
                for variable, value in zip(variables[self._num_arguments:],
                                           before[self._num_arguments:]):
                    value.copyto(variable)

    def _result(self, variables):
        """Return what the function computes; raise an `InputError` if its arguments do not fit."""
        arrays = iter(variables)
        args, kwargs = (_mapped(value, lambda _: next(arrays))
                        for value in (self._args, self._kwargs))
        try:
            with _reading_refused() as refusals:
                result = self._function(*args, **kwargs)
            if refusals:  # although the function has caught that
                raise refusals[0]
            return result
        except FAILURES as error:
            reason = reason_of(error)
        with autograd.pause(train_mode=autograd.is_training()):
            computed(self._function, *args, **kwargs)  # fails, too, unless it is the recording
        raise Untraceable(f"cannot be traced ({reason})")

    def _graph(self, result, variables):
        tape = json.loads(autograd.get_symbol(result).tojson())
        if all(node["op"] == "null" for node in tape["nodes"]):
            raise Untraceable("returns one of its arguments")
        with autograd.record():
            same = [nd.identity(variable) for variable in variables]
        names = [autograd.get_symbol(array).list_inputs()[0] for array in same]
        positions = {name: position for position, name in reversed([*enumerate(names)])}
        text = rewritten(tape, positions, [variable.shape for variable in variables],
                         self._transposed())
        size = sum(array.size for array, (layout, _) in zip(variables, self._places) if not layout)
        return Graph(text, self.key[0], size)

    def _transposed(self):
        return [layout is not None and layout.transposed[number]
                for layout, number in self._places]

    def _verify(self, graph, result, variables, before):
        """Raise `Untraceable` unless a graph computes what its function did, and its gradients.

        It is given what the variables were before, and must leave it as the function left them.
        """
        is_recorded, transposed = self.key[0], self._transposed()

        def turned(array, position):
            return array.T if transposed[position] else array

        copy = _variable if is_recorded else nd.NDArray.copy
        used = {position: copy(turned(before[position], position)) for position in graph.positions}
        with autograd.record(train_mode=self.key[1]) if is_recorded else contextlib.nullcontext():
            results = [graph([*used.values()]), result]
        _check_alike([results], TOLERANCE)
        after = [turned(used[position], position) if position in used else old
                 for position, old in enumerate(before)]
        _check_alike(zip(after, variables), TOLERANCE)
        if is_recorded:
            surroundings = variables[self._num_arguments:]
            kept = [(variable.grad.copy(), variable._fresh_grad) for variable in surroundings]
            for variable in surroundings:
                variable.grad[:] = 0  # to which those of grad_req "add" are added
            # Different weights, since gradients of a plain sum may cancel, as those of softmax do.
            weights = nd.cos(nd.arange(result.size, ctx=result.context)).reshape(result.shape)
            autograd.backward(results, [weights, weights])
            gradients = [
                (turned(used[position].grad, position) if position in used
                 else nd.zeros_like(variable), variable.grad.copy())
                for position, variable in enumerate(variables)
                if variable._fresh_grad  # not of grad_req "null"
                or position in used and position < self._num_arguments]
            for variable, (grad, is_fresh) in zip(surroundings, kept):
                variable.grad[:], variable._fresh_grad = grad, is_fresh
            _check_alike(gradients, GRADIENT_TOLERANCE, OF_THE_LARGEST)


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
    _watch_reading()
    was_tracing, thread.is_tracing, thread.refusals = thread.is_tracing, True, []
    try:
        yield thread.refusals
    finally:
        thread.is_tracing = was_tracing


@functools.lru_cache(maxsize=None)
def _watch_reading():
    """Have ``NDArray.asnumpy`` refuse in a thread that traces; other threads read as ever."""
    original = nd.NDArray.asnumpy

    @functools.wraps(original)
    def asnumpy(self):
        if not thread.is_tracing:
            return original(self)
        thread.refusals.append(Untraceable("prints or reads an array's values"))
        raise thread.refusals[-1]

    nd.NDArray.asnumpy = asnumpy


def _check_alike(pairs, tolerance, of_the_largest=0):
    """Raise `Untraceable` if two arrays differ by more than their norm, or the largest, allows."""
    distances = [_distance(found, expected) for found, expected in pairs]
    least = of_the_largest * max((norm for _, norm in distances), default=0)
    for distance, norm in distances:
        if not distance <= tolerance * norm + least:  # not ">": false for NaN
            raise Untraceable(DIFFERENT)


def _distance(found, expected):
    """The norm of the difference between two arrays, and the norm of the second."""
    if found.shape != expected.shape:
        return np.inf, 0
    found, expected = found.asnumpy(), expected.asnumpy().astype(float)
    norm = _norm(expected)
    if np.isfinite(norm) and np.array_equal(found, expected):
        return 0, norm
    found = found.astype(float)
    if not np.isfinite(norm):  # where neither is a finite number, there is no difference
        alike = ~(np.isfinite(found) | np.isfinite(expected))
        found[alike] = expected[alike] = 0
        norm = _norm(expected[np.isfinite(expected)])
    with np.errstate(all="ignore"):
        return _norm(found - expected), norm


def _norm(array):
    values = array.ravel()  # `np.linalg.norm` starts threads, which takes longer
    return np.sqrt(np.einsum("i,i", values, values))

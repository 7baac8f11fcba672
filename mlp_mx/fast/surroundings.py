"""What a function reads besides its arguments: globals, closure variables, defaults, attributes.

A graph keeps what was read when it was traced. `Surroundings` tells when that has changed.
"""

import functools
import inspect
import sysconfig
import types

from ..runtime.lazy import nd
from .packed import packed

__all__ = ["Is", "Surroundings", "described"]

# Whose functions are taken as they are.
LIBRARIES = {"mxnet", "numpy", "builtins"}
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
MAX_ITEMS = 100  # of a list or a dict whose values are compared
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), slice)
MISSING = object()


class Is:
    """A value as a part of a key, equal to itself alone."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Is) and self.value is other.value

    def __hash__(self):
        return id(self.value)


def described(value):
    """A hashable description of a value: by what it says, if it is plain, or else by identity."""
    if isinstance(value, PLAIN):
        return type(value), repr(value)  # the text tells 0.0 from -0.0, and finds NaN equal to NaN
    if type(value) in (list, tuple, set, dict) and len(value) <= MAX_ITEMS:
        items = value.items() if type(value) is dict else value
        return type(value), tuple(map(described, items))
    return Is(value)


class Surroundings:
    """What a function, and the functions that it calls, read from outside.

    Parameters
    ----------
    function : callable

    Attributes
    ----------
    arrays : list of NDArray
        Those with gradients among what is read, as of the last `token`.
    """

    def __init__(self, function):
        self._function, self.arrays = function, []
        self._reads = None  # (a namespace's `get`, a name, the value found there)
        self._containers = ()  # (a list, dict or set, its description)
        self._tokens = {}

    def token(self):
        """A number that is the same as long as everything read is the same."""
        if self._reads is None or not self._is_unchanged():
            walk = _Walk(self._function)
            self._reads, self._containers, self.arrays = walk.reads, walk.containers, walk.arrays
            key = (tuple((name, described(value)) for _, name, value in walk.reads),
                   tuple(description for _, description in walk.containers))
            self._token = self._tokens.setdefault(key, len(self._tokens))
        return self._token

    def _is_unchanged(self):
        for get, name, value in self._reads:
            if get(name, MISSING) is not value:
                return False
        for container, description in self._containers:
            if described(container) != description:
                return False
        return True


class _Walk:
    """Follows the names in a function's code, and in the code of the functions it finds."""

    def __init__(self, function):
        self.reads, self.containers, self.arrays, self._seen = [], [], [], {}
        self._visit(function, ())

    def _visit(self, value, names):
        """Look into a value that code with such names has read."""
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value  # keeps it, and so its id
        if type(value) in (list, tuple, set, dict):
            if type(value) is not tuple:
                self.containers.append((value, described(value)))
            for item in list(value.values() if type(value) is dict else value)[:MAX_ITEMS]:
                self._visit(item, names)
        elif type(value) is packed:
            self._visit(value.originals, names)
        elif _is_library(value):
            if isinstance(value, nd.NDArray) and value.grad is not None:
                self.arrays.append(value)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, types.MethodType):
            self._visit(value.__func__, names)
            self._visit_object(value.__self__, _names(value.__func__))
        elif isinstance(value, functools.partial):
            self._visit(value.func, names)
            for given in (value.args, value.keywords):
                self._visit(given, _names(value.func))
        else:
            self._visit_object(value, names)

    def _visit_function(self, function):
        names = _names(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self._visit(wrapped, names)
        self._read(vars(function).get, names)
        for name in ("__defaults__", "__kwdefaults__", "__code__"):
            self.reads.append((_attribute(function), name, getattr(function, name)))
            self._visit(getattr(function, name), names)
        for cell in function.__closure__ or ():
            self.reads.append((_content(cell), "cell_contents", _content(cell)("", MISSING)))
            self._visit(self.reads[-1][2], names)
        self._read(function.__globals__.get, names)

    def _visit_object(self, value, names):
        """An instance, a class or a module: its attributes of these names, and its methods."""
        if isinstance(value, types.ModuleType):
            self._read(vars(value).get, names)
            return
        classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
        call = inspect.getattr_static(type(value), "__call__", None)
        if isinstance(call, types.FunctionType):
            names = {*names, *_names(call)}
            self._visit(call, names)
        if not isinstance(value, type) and hasattr(value, "__dict__"):
            self._read(vars(value).get, names)
        for one in classes:
            if one.__module__.partition(".")[0] not in LIBRARIES:
                self._read(vars(one).get, names)

    def _read(self, get, names):
        for name in names:
            value = get(name, MISSING)
            if value is not MISSING:
                self.reads.append((get, name, value))
                self._visit(value, names)


def _attribute(value):
    return lambda name, default: getattr(value, name, default)


def _content(cell):
    def get(_, default):
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return default
    return get


def _names(function):
    """The names of globals and attributes in a function's code, and in the code inside it."""
    found, codes = {}, [getattr(function, "__code__", None)]
    while codes:
        code = codes.pop()
        if code is not None:
            found.update(dict.fromkeys(code.co_names))
            codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return tuple(found)


def _is_library(value):
    """Whether a function, a class, an instance or a module is MXNet's, NumPy's or Python's own."""
    home = value.__name__ if isinstance(value, types.ModuleType) else (
        getattr(value, "__module__", None) or type(value).__module__)
    file = getattr(getattr(value, "__code__", value), "co_filename", None) or getattr(
        value, "__file__", None) or ""
    return isinstance(home, str) and home.partition(".")[0] in LIBRARIES or (
        file.startswith(STANDARD_LIBRARY) and "site-packages" not in file)

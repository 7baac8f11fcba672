"""What a function reads besides its arguments: globals, closure variables, defaults, attributes.

A graph keeps what was read when it was traced. `Surroundings` tells when that has changed.
"""

import dis
import functools
import inspect
import sys
import sysconfig
import types

import numpy as np

from ..runtime.lazy import nd
from .packed import packed

__all__ = ["Is", "Surroundings", "described"]

# Whose functions are taken as they are.
LIBRARIES = {"mxnet", "numpy", "builtins"}
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
MAX_ITEMS = 100  # of a list, a dict or a NumPy array whose values are compared
MAX_READS = 1000  # of all that is compared
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), slice, np.generic)
CONTAINERS = (list, tuple, set, frozenset, dict)
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
    """Return a hashable description of a value: of a plain one, its text; else its identity."""
    if isinstance(value, PLAIN):
        return type(value), repr(value)  # the text tells 0.0 from -0.0, and finds NaN equal to NaN
    if isinstance(value, CONTAINERS) and len(value) <= MAX_ITEMS:
        items = value.items() if isinstance(value, dict) else value
        return type(value), tuple(map(described, items))
    if isinstance(value, np.ndarray) and value.size <= MAX_ITEMS and not value.dtype.hasobject:
        return np.ndarray, value.dtype.str, value.shape, value.tobytes()
    return Is(value)


class Surroundings:
    """What a function, and the functions it calls, read apart from their arguments.

    Parameters
    ----------
    function : callable

    Attributes
    ----------
    arrays : list of NDArray
        Those with gradients among what is read, as of the last `token`.
    """

    def __init__(self, function):
        self._function, self.arrays, self._token = function, [], None
        self._reads = ()  # (a namespace's `get`, a name, the value found there)
        self._containers = ()  # (a list, dict or set, its description)
        self._tokens = {}

    def token(self):
        """A number that is the same as long as everything read is the same."""
        if self._token is None or not self._is_unchanged():
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
    """Follows the names in a function's code, and in the code of the functions it finds.

    Globals are those of the code that names them. Attributes are looked up in every object found,
    since any of the code may be given any of them.
    """

    def __init__(self, function):
        self.reads, self.containers, self.arrays, self._seen = [], [], [], {}
        self._attributes, self._objects = {}, []  # names; a `get` of each namespace
        self._visit(function)
        looked_up = set()
        while len(self.reads) < MAX_READS:  # finding a value may add to both
            pairs = [(number, name) for number in range(len(self._objects))
                     for name in self._attributes if (number, name) not in looked_up]
            if not pairs:
                break
            looked_up.update(pairs)
            for number, name in pairs:
                self._read(self._objects[number], name)

    def _visit(self, value):
        """Look into a value that code has read."""
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value  # keeps it, and so its id
        if isinstance(value, CONTAINERS):
            if not isinstance(value, tuple):
                self.containers.append((value, described(value)))
            for item in list(value.values() if isinstance(value, dict) else value)[:MAX_ITEMS]:
                self._visit(item)
        elif isinstance(value, np.ndarray):
            self.containers.append((value, described(value)))
        elif type(value) is packed:
            self._visit(value.originals)
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            self._visit(value.__func__)
            self._visit(getattr(value, "__self__", None))
        elif isinstance(value, property):
            self._visit(value.fget)
        elif _is_library(value):
            if isinstance(value, nd.NDArray) and value.grad is not None:
                self.arrays.append(value)
            if not isinstance(value, types.ModuleType):
                self._visit(getattr(value, "__wrapped__", None))  # the function that is traced
                self._visit(getattr(value, "_children", None))  # of a gluon block
        elif isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._visit(part)
        else:
            self._visit_object(value)

    def _visit_function(self, function):
        self._visit(getattr(function, "__wrapped__", None))
        self._objects.append(vars(function).get)
        names, attributes, modules = _names(function.__code__)
        self._attributes.update(dict.fromkeys(attributes))
        for name in ("__defaults__", "__kwdefaults__", "__code__"):
            self._read(_attribute(function), name)
        for cell in function.__closure__ or ():
            self._read(_content(cell), "cell_contents")
        for name in names:
            self._read(function.__globals__.get, name)
        for name in modules:
            self._read(sys.modules.get, name)

    def _visit_object(self, value):
        """An instance, a class or a module: its attributes, and its methods."""
        if hasattr(value, "__dict__"):
            self._objects.append(vars(value).get)
        if isinstance(value, types.ModuleType):
            return
        classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
        libraries = [one for one in classes if one.__module__.partition(".")[0] in LIBRARIES]
        for one in classes:
            if one not in libraries:
                self._objects.append(vars(one).get)
                self._attributes.update(dict.fromkeys(  # what Python or the library may call
                    name for name in vars(one)
                    if name.startswith("__") or any(hasattr(base, name) for base in libraries)))
        if any("__slots__" in vars(one) for one in classes) and not isinstance(value, type):
            self._objects.append(_slot(value))

    def _read(self, get, name):
        value = get(name, MISSING)
        if value is not MISSING:
            self.reads.append((get, name, value))
            self._visit(value)


def _attribute(value):
    return lambda name, default: getattr(value, name, default)


def _slot(value):
    def get(name, default):
        slot = inspect.getattr_static(type(value), name, None)
        is_slot = isinstance(slot, types.MemberDescriptorType)
        return getattr(value, name, default) if is_slot else default
    return get


def _content(cell):
    def get(_, default):
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return default
    return get


@functools.lru_cache(maxsize=1000)
def _names(code):
    """The names of globals, of attributes and of modules in some code, and in the code inside it.

    They are told apart, since a loop's variables are globals, too, such as ``data`` in a script.
    """
    found, codes = ({}, {}, {}), [code]
    for code in codes:
        for instruction in dis.get_instructions(code):
            if (instruction.opcode in dis.hasname
                    and instruction.opname.startswith(("LOAD", "IMPORT"))):
                kind = {"LOAD_GLOBAL": 0, "LOAD_NAME": 0, "IMPORT_NAME": 2}.get(
                    instruction.opname, 1)
                found[kind][instruction.argval] = None
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return tuple(map(tuple, found))


def _is_library(value):
    """Whether a function, a class, an instance or a module is of a library, or Python's own."""
    if isinstance(value, types.FunctionType):  # a decorator copies __module__
        home, file = value.__globals__.get("__name__"), value.__code__.co_filename
    elif isinstance(value, types.ModuleType):
        home, file = value.__name__, getattr(value, "__file__", None)
    else:
        home, file = getattr(value, "__module__", None) or type(value).__module__, None
    file = file or ""
    return (isinstance(home, str) and (home.partition(".")[0] in LIBRARIES
                                       or home.startswith(__package__))
            or file.startswith(STANDARD_LIBRARY) and "site-packages" not in file)

"""Parameters in files: `save` and `load`, in NumPy's ``.npz`` and in MXNet's ``.params``.

Files are written whole or not at all. `load` verifies every bit before it is used: by an archive's
CRCs, or by the SHA-256 that `save` appends to a ``.params`` file, where MXNet does not look. It
unpickles nothing, and uses no more memory than the file has bytes, whatever the file claims.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import struct
import tempfile
import warnings
import zipfile

import numpy as np

from . import Error, InputError, __version__
from ._support.files import check_suffix, check_writable, open_regular, whole_file
from .runtime.lazy import mx, nd

__all__ = ["CheckpointError", "check_path", "load", "names", "save"]

MAX_BYTES = 2 << 30  # of one file; 16 384 hidden units, the most that can be trained, take half
MAX_ARRAYS = 1000  # in one file
COUNT = "num_arrays"  # in the metadata: damage to an archive's directory can hide some
DIGEST_MARK = b"mlp_mx-sha256:"  # in a .params file, followed by the SHA-256 of what precedes it
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}  # of MXNet's numbers


class CheckpointError(InputError):
    """A file that cannot be read or written as a checkpoint."""


def save(path, params, **metadata):
    """Write parameters to a file, whole or not at all; it does not record the network's function.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` (readable by anyone with NumPy) or ``.params`` (MXNet's own format).
    params : list of NDArray, float32
        ``[W1, b1, W2, b2, …]`` of any number of layers, on any device.
    **metadata
        Returned by `load` along with the parameters: anything that JSON can hold, and NumPy's
        numbers and arrays. The versions of the package and of MXNet are added.

    Raises
    ------
    CheckpointError
        If the path has another suffix or cannot be written to, or if the parameters are not finite
        weights and biases of layers that fit together.
    """
    arrays = dict(zip(names(len(params)), (param.asnumpy() for param in params)))
    metadata = json.dumps({
        "mlp_mx": __version__, "mxnet": mx.__version__, **metadata, COUNT: len(params)},
        default=_plain)
    problem = _find_problem(arrays)
    if problem:
        raise CheckpointError(f"{path} was not written: {problem}")
    with _one_error():
        write, _ = FORMATS[check_suffix(path, *FORMATS)]
        with whole_file(path) as file:
            write(file, arrays, metadata)


def _plain(value):
    """NumPy's numbers and arrays as Python's, for JSON."""
    if not hasattr(value, "tolist"):
        raise CheckpointError("expected metadata that JSON can hold, found an object of type "
                              f"{type(value).__name__}")
    return value.tolist()


def check_path(path):
    """Raise a `CheckpointError` if a checkpoint cannot be saved at `path`; change nothing."""
    with _one_error():
        check_writable(path, *FORMATS)


@contextlib.contextmanager
def _one_error():
    """Turn every error of the package into a `CheckpointError`."""
    try:
        yield
    except Error as error:
        raise CheckpointError(str(error)) from error


def load(path, ctx=None):
    """Read what `save` has written, or parameters that another program has saved with MXNet.

    The latter are in a ``.params`` file, with the chapter's names; without names, in the chapter's
    order; or with gluon's names for the weights and biases of ``Dense`` layers, in the order of the
    numbers in the names. Such a file does not record the activation function; here that is
    `mlp_mx.model.relu`.

    Parameters
    ----------
    path : path-like
    ctx : mxnet.Context, optional
        Device to load to; by default the CPU.

    Returns
    -------
    params : list of NDArray, float32
        ``[W1, b1, W2, b2, …]``, with gradients attached.
    metadata : dict
        Empty for another program's file.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not of a network like the chapter's.

    Warns
    -----
    UserWarning
        If a ``.params`` file has no SHA-256, so that damage to its numbers cannot be detected.
    """
    with _one_error():
        _, read = FORMATS[check_suffix(path, *FORMATS)]
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise CheckpointError(f"expected at most {MAX_BYTES} bytes")
            arrays, metadata = read(file)
        metadata = json.loads(metadata)
        if not isinstance(metadata, dict):
            raise CheckpointError("its metadata is not a JSON object")
        problem = _find_problem(arrays)
        if problem or metadata.pop(COUNT, len(arrays)) != len(arrays):
            raise CheckpointError(problem or f"arrays are missing; found {', '.join(arrays)}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # decoding a damaged file can raise anything
        reason = " ".join(str(error).split())  # names in the file may contain line breaks
        raise CheckpointError(f"{path} is damaged, or not a network like the chapter's: "
                              f"{reason}; use another copy or another file") from error
    params = [nd.array(arrays[name], ctx or mx.cpu()) for name in names(len(arrays))]
    for param in params:
        param.attach_grad()
    return params, metadata


def names(count):
    """The names of so many parameters: W1, b1, W2, b2, …"""
    return [f"{'Wb'[number % 2]}{number // 2 + 1}" for number in range(count)]


def _find_problem(arrays):
    """Why these are not finite weights and biases of layers that fit together, or None."""
    expected = names(len(arrays))
    if set(arrays) != set(expected) or not expected or len(expected) % 2:
        return f"expected arrays W1, b1, W2, b2, …, in pairs, found {', '.join(arrays) or 'none'}"
    shapes = [arrays[name].shape for name in expected]
    weights, biases = shapes[::2], shapes[1::2]
    if not (all(len(weight) == 2 and min(weight) and bias == weight[1:]
                for weight, bias in zip(weights, biases))
            and all(first[1] == second[0] for first, second in zip(weights, weights[1:]))):
        return f"the shapes {shapes} do not fit together"
    for name in expected:
        if arrays[name].dtype != np.float32:
            return f"{name} is {arrays[name].dtype}, not float32"
        if not np.isfinite(arrays[name]).all():
            return f"{name} has values that are not finite"
    return None


def _write_npz(file, arrays, metadata):
    archive = io.BytesIO()  # a ZipFile that is left on a full disk complains to standard error
    np.savez(archive, metadata=np.array(metadata), **arrays)
    file.write(archive.getbuffer())


def _read_npz(file):
    if not zipfile.is_zipfile(file):
        raise CheckpointError("this is not an .npz archive")
    file.seek(0)
    with np.load(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist()):
            raise CheckpointError("its members are compressed")  # to who knows what size
        arrays = dict(archive)
    return arrays, str(arrays.pop("metadata", "{}"))


def _write_params(file, arrays, metadata):
    arrays = {**arrays, "metadata": np.frombuffer(metadata.encode(), np.uint8)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "params")
        nd.save(path, {name: nd.array(array, dtype=array.dtype) for name, array in arrays.items()})
        with open(path, "rb") as written:
            content = written.read()
    file.write(content + DIGEST_MARK + hashlib.sha256(content).digest())


def _read_params(file):
    content, mark, digest = file.read().rpartition(DIGEST_MARK)
    if mark and hashlib.sha256(content).digest() != digest:
        raise CheckpointError("its SHA-256 does not match")
    arrays = _named(*_parse_params(io.BytesIO(content if mark else digest)))
    if not mark:
        warnings.warn(f"{file.name} has no SHA-256: damage to its numbers cannot be detected",
                      stacklevel=3)
    metadata = arrays.pop("metadata", np.frombuffer(b"{}", np.uint8))
    return arrays, metadata.tobytes().decode()


def _parse_params(file):
    """The names and the arrays in an MXNet 1.x file; damaged ones make MXNet's own reader crash.

    The format is that of ``NDArray::Save``, in ``src/ndarray/ndarray.cc`` of apache/mxnet.
    """

    def take(layout):
        size = struct.calcsize(f"<{layout}")
        content = file.read(size)
        if len(content) < size:
            raise CheckpointError("it ends too early")
        return struct.unpack(f"<{layout}", content)

    magic, _, count = take("QQQ")
    if magic != 0x112:
        raise CheckpointError("it does not begin like a .params file")
    if count > MAX_ARRAYS:  # each takes more memory than the few bytes that it may have there
        raise CheckpointError(f"expected at most {MAX_ARRAYS} arrays, found {count}")
    arrays = []
    for _ in range(count):
        magic, storage, ndim = take("IiI")
        # The second magic number is that of a program which has called mx.npx.set_np.
        if magic not in (0xF993FAC9, 0xF993FACA) or storage != 0 or ndim > 2:
            raise CheckpointError("it has something other than dense arrays")
        shape = take(f"{ndim}q")
        _, _, number = take("iii")
        dtype = np.dtype(DTYPES[number])
        content = file.read(math.prod(shape) * dtype.itemsize)
        arrays.append(np.frombuffer(content, dtype).reshape(shape))
    num_names, = take("Q")
    found = [take(f"{take('Q')[0]}s")[0].decode() for _ in range(num_names)]
    if file.read():
        raise CheckpointError("it does not end where it should")
    return found, arrays


def _named(found, arrays):
    """The arrays of a ``.params`` file by the chapter's names, in the chapter's layout."""
    # Modules of MXNet write "arg:" before the names; a list has none.
    found = [name.split(":")[-1] for name in found] or names(len(arrays))
    if len(arrays) != len(found) or len(set(found)) < len(found):
        raise CheckpointError(f"it has {len(arrays)} arrays for the names {', '.join(found)}")
    by_name = dict(zip(found, arrays))
    return by_name if "W1" in by_name else _from_gluon(by_name)


def _from_gluon(arrays):
    """From gluon's names and (outputs, inputs) layout to the chapter's."""
    layers = {}
    for name, array in arrays.items():
        layer, _, kind = name.replace("_", ".").rpartition(".")
        parts = re.split("([0-9]+)", layer)
        words, numbers = tuple(parts[::2]), tuple(map(int, parts[1::2]))
        layers.setdefault((words, numbers), {})[kind] = array.T
    if (len({words for words, _ in layers}) != 1 or 2 * len(layers) != len(arrays)
            or any(set(layer) != {"weight", "bias"} for layer in layers.values())):
        raise CheckpointError("expected W1, b1, W2, b2, …, or weights and biases of numbered "
                              f"layers, found {', '.join(arrays) or 'none'}")
    ordered = [layers[key][kind] for key in sorted(layers) for kind in ("weight", "bias")]
    return dict(zip(names(len(ordered)), ordered))


FORMATS = {".npz": (_write_npz, _read_npz), ".params": (_write_params, _read_params)}

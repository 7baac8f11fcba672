"""Parameters in files: `save` and `load`, in NumPy's ``.npz`` and in MXNet's ``.params``.

Files are written whole or not at all. What is read is checked, down to the last bit, before it is
used: an archive's CRCs, or the digest that `save` appends to a ``.params`` file, where MXNet does
not look; names, shapes and how they fit together, dtype, finiteness. Nothing is unpickled, and no
memory is taken because a file says so. `load` also reads the ``.params`` files of other programs
that use MXNet, such as those of gluon's layers.
"""

import contextlib
import hashlib
import io
import json
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
# What `save` appends to a .params file: this, and the SHA-256 of all that stands before.
DIGEST_MARK = b"mlp_mx-sha256:"
# How a .params file says what an array's numbers are.
KINDS = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}


class CheckpointError(InputError):
    """A file that cannot be read or written as a checkpoint."""


def save(path, params, **metadata):
    """Write parameters to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` (readable by anyone with NumPy) or ``.params`` (MXNet's own format).
    params : list of NDArray, float32
        ``[W1, b1, W2, b2, …]`` of any number of layers, on any device.
    **metadata
        What `load` is to return beside them: anything that JSON can hold. The versions of the
        package and of MXNet are added.

    Raises
    ------
    CheckpointError
        If the path ends otherwise or cannot be written to, or if the parameters are not what
        `load` would return: weights and biases of layers that fit together, finite numbers.
    """
    arrays = dict(zip(names(len(params)), (param.asnumpy() for param in params)))
    metadata = json.dumps({"mlp_mx": __version__, "mxnet": mx.__version__, **metadata})
    with _one_error():
        try:
            _check(arrays)
        except CheckpointError as error:
            raise CheckpointError(f"{path} is not written: {error}") from error
        write = FORMATS[check_suffix(path, *FORMATS)][0]
        with whole_file(path) as file:
            write(file, arrays, metadata)


def check_path(path):
    """Raise a `CheckpointError` if a checkpoint cannot be saved at `path`; change nothing."""
    with _one_error():
        check_writable(path, *FORMATS)


@contextlib.contextmanager
def _one_error():
    """Let what goes wrong with a file be a `CheckpointError`, whatever it is elsewhere."""
    try:
        yield
    except Error as error:
        raise CheckpointError(str(error)) from error


def load(path, ctx=None):
    """Read what `save` has written, or parameters that MXNet has saved for another program.

    Those are in a ``.params`` file, with the chapter's names; without names, in the chapter's
    order; or with gluon's names for the weights and biases of ``Dense`` layers, whose order is that
    of the numbers in the names. Nothing in such a file says what is between the layers; here that
    is `mlp_mx.model.relu`.

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
        If there is no such file, or if anything in it is not as it was written.

    Warns
    -----
    UserWarning
        If a ``.params`` file has no digest, so that damage to its numbers cannot be seen.
    """
    with _one_error():
        read = FORMATS[check_suffix(path, *FORMATS)][1]
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise CheckpointError(f"expected at most {MAX_BYTES} bytes")
            arrays, metadata = read(file)
        _check(arrays)
        metadata = json.loads(metadata)
        if not isinstance(metadata, dict):
            raise CheckpointError("its metadata are not a JSON object")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make what decodes it raise anything
        reason = " ".join(str(error).split())  # in one line, whatever names the file has
        raise CheckpointError(f"{path} is damaged, or not of a network like the chapter's: "
                              f"{reason}; use another copy or another file") from error
    params = [nd.array(arrays[name], ctx or mx.cpu()) for name in names(len(arrays))]
    for param in params:
        param.attach_grad()
    return params, metadata


def names(count):
    """The names of so many parameters: W1, b1, W2, b2, …"""
    return [f"{'Wb'[number % 2]}{number // 2 + 1}" for number in range(count)]


def _check(arrays):
    """Raise an error unless these are the weights and biases of layers that fit together."""
    expected = names(len(arrays))
    if set(arrays) != set(expected) or not expected or len(expected) % 2:
        raise CheckpointError("expected arrays W1, b1, W2, b2, …, in pairs, found "
                              f"{', '.join(arrays) or 'none'}")
    shapes = [arrays[name].shape for name in expected]
    for (name, weight), bias, following in zip(
            zip(expected[::2], shapes[::2]), shapes[1::2], [*shapes[2::2], shapes[-1] + (1,)]):
        if len(weight) != 2 or min(weight) < 1 or bias != weight[1:] or following[0] != weight[1]:
            raise CheckpointError(f"the shapes {shapes} do not fit together at {name}")
    for name in expected:
        if arrays[name].dtype != np.float32:
            raise CheckpointError(f"{name} is {arrays[name].dtype}, not float32")
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{name} has values that are not finite")


def _write_npz(file, arrays, metadata):
    archive = io.BytesIO()  # a ZipFile that is left on a full disk complains to standard error
    np.savez(archive, metadata=np.array(metadata), **arrays)
    file.write(archive.getbuffer())


def _read_npz(file):
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        expected = sorted(f"{name}.npy" for name in (*names(len(members) - 1), "metadata"))
        if sorted(member.filename for member in archive.infolist()) != expected:
            raise CheckpointError(f"expected {', '.join(expected)}, found {', '.join(members)}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise CheckpointError("its members are compressed")  # to who knows what size
        arrays = {name[:-len(".npy")]: _parse_npy(archive.read(name)) for name in expected}
    metadata = arrays.pop("metadata")
    return arrays, str(metadata)


def _parse_npy(content):
    """The array in an ``.npy`` file; `numpy.load` would allocate whatever shape the file claims."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise CheckpointError("it has an array in another version of NumPy's format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    array = np.frombuffer(content, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")


def _write_params(file, arrays, metadata):
    arrays = {**arrays, "metadata": np.frombuffer(metadata.encode(), np.uint8)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "params")
        nd.save(path, {name: nd.array(array, dtype=array.dtype) for name, array in arrays.items()})
        with open(path, "rb") as written:
            content = written.read()
    file.write(content + DIGEST_MARK + hashlib.sha256(content).digest())


def _read_params(file):
    content = file.read()
    end = len(content) - len(DIGEST_MARK) - hashlib.sha256().digest_size
    digest = content[max(end, 0):]
    if digest.startswith(DIGEST_MARK):
        content = content[:end]
        if hashlib.sha256(content).digest() != digest[len(DIGEST_MARK):]:
            raise CheckpointError("its SHA-256 is not the one that was written")
    else:
        warnings.warn(f"{file.name} has no digest, so that damage to its numbers cannot be seen",
                      stacklevel=3)
    arrays = _chapters(*_parse_params(content))
    metadata = arrays.pop("metadata", np.frombuffer(b"{}", np.uint8))
    return arrays, metadata.tobytes().decode()


def _parse_params(content):
    """The names and the arrays in an MXNet 1.x file, whose reader in MXNet trusts what it reads.

    The format is that of ``NDArray::Save``, in ``src/ndarray/ndarray.cc`` of apache/mxnet.
    """
    position = 0

    def take(layout):
        nonlocal position
        values = struct.unpack_from(f"<{layout}", content, position)
        position += struct.calcsize(f"<{layout}")
        return values

    magic, _, count = take("QQQ")
    if magic != 0x112:
        raise CheckpointError("this is not the beginning of such a file")
    if count > MAX_ARRAYS:
        raise CheckpointError(f"expected at most {MAX_ARRAYS} arrays, found {count}")
    arrays = []
    for _ in range(count):
        magic, storage, ndim = take("IiI")
        # The second magic number is that of a program which has called mx.npx.set_np.
        if magic not in (0xF993FAC9, 0xF993FACA) or storage != 0 or ndim > 2:
            raise CheckpointError("it has something else than dense arrays")
        shape = take(f"{ndim}q")
        _, _, kind = take("iii")
        size = int(np.prod(shape, dtype=object))
        array = np.frombuffer(content, KINDS[kind], size, position).reshape(shape)
        arrays.append(array)
        position += array.nbytes
    num_names, = take("Q")
    found = [bytes(take(f"{take('Q')[0]}s")[0]).decode() for _ in range(num_names)]
    if position != len(content):
        raise CheckpointError("it does not end where it should")
    return found, arrays


def _chapters(given, arrays):
    """From a ``.params`` file's names and arrays, the arrays by the chapter's names."""
    # Modules of MXNet write "arg:" before the names; no names are those of a list.
    given = [name.split(":")[-1] for name in given] or names(len(arrays))
    if len(arrays) != len(given) or len(set(given)) < len(given):
        raise CheckpointError(f"it has {len(arrays)} arrays for the names {', '.join(given)}")
    found = dict(zip(given, arrays))
    return found if "W1" in found else _from_gluon(found)


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
        raise CheckpointError("expected W1, b1, W2, b2, …, or weights and biases of layers that "
                              f"differ in their numbers, found {', '.join(arrays)}")
    ordered = [layers[key][kind] for key in sorted(layers) for kind in ("weight", "bias")]
    return dict(zip(names(len(ordered)), ordered))


FORMATS = {".npz": (_write_npz, _read_npz), ".params": (_write_params, _read_params)}

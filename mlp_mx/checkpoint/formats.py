"""Read arrays from NumPy's ``.npz`` and from every dense layout of MXNet's ``.params``.

The sizes that a file claims are checked, and nothing is unpickled. A reader returns the arrays by
name, in the file's order, the metadata as JSON, and a list of warnings. It raises
`NotImplementedError` for files that are intact but not supported, anything else for damage.
"""

import hashlib
import math
import os
import struct
import zipfile

import numpy as np

__all__ = ["MAX_BYTES", "read_npz", "read_params"]

MAX_BYTES = 2 << 30  # of one file; 16 384 hidden units, the most that can be trained, take half
MAX_ARRAYS = 1000  # in one file
MAX_DIMENSIONS = 32
DIGEST_MARK = b"mlp_mx-sha256:"  # appended by version 0.2, with the SHA-256 of what precedes it
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # MXNet 0.11, 1.0, and 1.6 with mx.npx.set_np
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}


def read_npz(file):
    """Read an ``.npz`` archive, stored or compressed; its CRCs verify every bit."""
    _check_start(file, b"PK", "an .npz archive")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_directory(members, os.fstat(file.fileno()).st_size)
        arrays = {member.filename.removesuffix(".npy"): _read_member(archive, member)
                  for member in members}
    return arrays, str(arrays.pop("metadata", "{}")), []


def _check_start(file, start, kind):
    found = file.read(len(start))
    file.seek(0)
    if found != start:
        raise ValueError(f"it begins with {found!r}, unlike {kind}")


def _check_directory(members, file_size):
    """Reject decompression bombs by the archive's directory, before any member is read."""
    if len(members) > MAX_ARRAYS + 1:
        raise ValueError(f"expected at most {MAX_ARRAYS} arrays, found {len(members)}")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("several of its members have the same name")
    if sum(member.compress_size for member in members) > file_size:
        raise ValueError("its members overlap")
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise ValueError(f"expected arrays of at most {MAX_BYTES} bytes")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
           or not member.filename.endswith(".npy") for member in members):
        raise NotImplementedError("it has members that numpy.savez does not write")


def _read_member(archive, member):
    """The array in a member of an archive, which must have the size that the directory claims."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0,
                       (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read_header(stream)
        if dtype.hasobject:
            raise NotImplementedError("it has pickled objects, which could run a program")
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - stream.tell():
            raise ValueError("an array is not as large as it claims")
        content = stream.read(size)
        if len(content) < size or stream.read(1):  # reading to the end checks the CRC
            raise ValueError("a member is not as large as the directory claims")
    return np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")


def read_params(file):
    """Read a ``.params`` file of ``nd.save`` or gluon; the arrays of a list are named by number."""
    _check_start(file, struct.pack("<Q", 0x112), "a .params file of MXNet")
    content = file.read()
    mark = len(content) - len(DIGEST_MARK) - hashlib.sha256().digest_size
    if not content.startswith(DIGEST_MARK, max(mark, 0)):
        return _parse(memoryview(content)), "{}", [
            ".params files have no checksum, so damage to their numbers would go unnoticed"]
    whole = memoryview(content)[:mark]
    if hashlib.sha256(whole).digest() != content[mark + len(DIGEST_MARK):]:
        raise ValueError("its SHA-256 does not match")
    arrays = _parse(whole)
    return arrays, arrays.pop("metadata").tobytes().decode(), []


def _parse(content):
    """Return the arrays of a ``.params`` file, by name. (Damage makes MXNet's own reader crash.)

    The format is that of ``NDArray::Save`` and ``NDArray::LegacyLoad``, in
    ``src/ndarray/ndarray.cc`` of apache/mxnet.
    """
    place = 16  # after the magic number of the list, and a reserved one

    def take(layout):
        nonlocal place
        start, place = place, place + struct.calcsize(f"<{layout}")
        if place > len(content):
            raise ValueError("it ends too early")
        return struct.unpack_from(f"<{layout}", content, start)

    def take_array():
        nonlocal place
        shape, dtype = _take_header(take)
        start, place = place, place + math.prod(shape) * np.dtype(dtype).itemsize
        if place > len(content):
            raise ValueError("it ends too early")
        return np.ndarray(shape, dtype, content, start)

    count, = take("Q")
    if count > MAX_ARRAYS:  # each takes more memory than the few bytes that it may have there
        raise ValueError(f"expected at most {MAX_ARRAYS} arrays, found {count}")
    arrays = [take_array() for _ in range(count)]
    num_names, = take("Q")
    if num_names not in (0, count):
        raise ValueError(f"it has {num_names} names for {count} arrays")
    # Modules of MXNet write "arg:" before the names; a list has none.
    keys = [take(f"{take('Q')[0]}s")[0].decode().removeprefix("arg:") for _ in range(num_names)]
    if place != len(content) or len(set(keys)) < len(keys):
        raise ValueError("it does not end where it should, or has a name twice")
    return dict(zip(keys or range(count), arrays))


def _take_header(take):
    """Return the shape and the dtype of the next array, stored in one of three layouts."""
    magic, = take("I")
    if magic in (V2, V3) and take("i") != (0,):
        raise NotImplementedError("it has sparse arrays")
    is_oldest = magic not in (V1, V2, V3)
    ndim = magic if is_oldest else take("I")[0]
    if ndim > MAX_DIMENSIONS:
        raise ValueError("an array begins with an unknown number")
    shape = take(f"{ndim}{'I' if is_oldest else 'q'}")
    if min(shape, default=0) < 0:
        raise ValueError("an array has a negative size")
    if not shape and magic != V3:
        return (0,), np.float32  # an array that was never filled: nothing follows
    device, device_id, number = take("iii")
    if number not in DTYPES:
        raise NotImplementedError(f"it has numbers of MXNet's type code {number}")
    return shape, DTYPES[number]

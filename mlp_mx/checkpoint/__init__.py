"""Parameters in files: `save` writes NumPy's ``.npz``, `load` reads it and MXNet's ``.params``.

Files are written whole or not at all. `load` unpickles nothing, and checks the sizes that a file
claims. While a file is loaded, its arrays are in memory twice.
"""

import contextlib
import io
import json
import os
import warnings

import numpy as np

from .._support.cli import printable
from .._support.errors import Error, InputError
from .._support.files import check_suffix, check_writable, open_regular, whole_file
from .._version import __version__
from ..runtime.lazy import mx, nd
from .formats import MAX_BYTES, read_npz, read_params
from .layers import NotLayersError, found_in, in_chapters_form, names

__all__ = ["CheckpointError", "check_path", "load", "names", "problem_of", "save"]


def __dir__():
    return __all__


COUNT = "num_arrays"  # in the metadata: damage to an archive's directory can hide some
READERS = {".npz": read_npz, ".params": read_params}


class CheckpointError(InputError):
    """A file that cannot be read or written as a checkpoint."""


def save(path, params, **metadata):
    """Write parameters to a file, whole or not at all. The network's function is not saved.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz``. Anyone with NumPy can read the file.
    params : list of NDArray or ndarray, float32
        ``[W1, b1, W2, b2, …]`` of any number of layers, on any device.
    **metadata
        Returned by `load` along with the parameters: anything that JSON can hold, as well as NumPy
        numbers and arrays. The versions of the package and of MXNet are added.

    Raises
    ------
    CheckpointError
        If the path has another suffix or cannot be written to, if the parameters are not finite
        weights and biases of layers that fit together, or if JSON cannot hold the metadata.
    """
    _check_suffix(path)
    problem = problem_of(params)
    if problem:
        raise CheckpointError(f"{path} was not written: {problem}")
    arrays = dict(zip(names(len(params)), map(_as_numpy, params)))
    metadata = np.array(_as_json({
        "mlp_mx": __version__, "mxnet": mx.__version__, **metadata, COUNT: len(params)}))
    if metadata.nbytes + sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        raise CheckpointError(f"{path} was not written: expected at most {MAX_BYTES} bytes")
    archive = io.BytesIO()  # a ZipFile that is left on a full disk complains to standard error
    np.savez(archive, metadata=metadata, **arrays)
    with _one_error(), whole_file(path) as file:
        file.write(archive.getbuffer())


def _check_suffix(path):
    name = os.fspath(path)
    if name.lower().endswith(".params"):
        raise CheckpointError(
            f"models are saved as .npz, found {name!r}; to write MXNet's format, call "
            f"mlp_mx.runtime.nd.save({name!r}, "
            "dict(zip(mlp_mx.checkpoint.names(len(params)), params)))")
    with _one_error():
        check_suffix(path, ".npz")


def _as_numpy(array):
    return array.asnumpy() if hasattr(array, "asnumpy") else np.asarray(array)


def problem_of(params):
    """Why these are not the parameters of layers in the chapter's form, or None."""
    arrays = dict(zip(names(len(params)), map(_as_numpy, params)))
    try:
        expected, _ = in_chapters_form(arrays)
    except NotLayersError as error:
        return f"{error}; found {found_in(arrays)}"
    if any(array.dtype != np.float32 for array in arrays.values()):
        return f"expected float32; found {found_in(arrays)}"
    if any(array.shape != one.shape for array, one in zip(arrays.values(), expected)):
        return f"expected weights (inputs, outputs), biases (outputs,); found {found_in(arrays)}"
    return _not_finite(expected)


def _not_finite(params):
    for name, param in zip(names(len(params)), params):
        if not np.isfinite(param).all():
            return f"{name} has values that are not finite"
    return None


def _as_json(metadata):
    try:
        return json.dumps(metadata, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"expected metadata that JSON can hold: {error}") from error


def _plain(value):
    """NumPy's numbers and arrays as Python's, for JSON."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"found an object of type {type(value).__name__}")
    return value.tolist()


def check_path(path):
    """Raise a `CheckpointError` if a checkpoint cannot be saved at `path`; change nothing."""
    _check_suffix(path)
    with _one_error():
        check_writable(path)


@contextlib.contextmanager
def _one_error():
    """Turn every error of the package into a `CheckpointError`."""
    try:
        yield
    except Error as error:
        raise CheckpointError(str(error)) from error


def load(path, ctx=None):
    """Read what `save` has written, or the layers that another program has saved.

    It reads ``.npz`` files, compressed or not, and ``.params`` files of any MXNet 1.x and of those
    before it, from gluon, ``nd.save`` or modules. Arrays may have the chapter's names, gluon's,
    others or none, and may be float16, float32 or float64.

    Layers are in the order of the numbers in their names or, without numbers, in the file's order.
    Shapes show whether weights are (inputs, outputs), as the chapter's, or (outputs, inputs), as in
    gluon and PyTorch. If all are square, the names decide: ``W1`` or ``0.weight``. No file records
    the activation function; `mlp_mx.predict` and `mlp_mx.export` assume ReLU.

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
        If the file is missing or damaged, or if its arrays are not layers that fit together. In
        the last case, the message says what was found, and how to load it by hand.

    Warns
    -----
    UserWarning
        If float64 numbers are rounded; if the order of the layers is only that of the file; if
        the file is a ``.params`` file, which has no checksum.
    """
    with _one_error():
        read = READERS[check_suffix(path, *READERS)]
    arrays, metadata, doubts = _read(path, read)
    try:
        params, more_doubts = in_chapters_form(arrays)
    except NotLayersError as error:
        raise CheckpointError(printable(
            f"{path} is not damaged, but is not a network of ReLU layers: {error}; found "
            f"{found_in(arrays)}; to load it by hand: {_by_hand(path, arrays)}")) from error
    problem = _not_finite(params)
    if problem:
        raise CheckpointError(f"{path}: {problem}; training diverged, or the file is damaged")
    for doubt in doubts + more_doubts:
        warnings.warn(printable(f"{path}: {doubt}"), stacklevel=2)
    params = [nd.array(param, ctx or mx.cpu()) for param in params]
    for param in params:
        param.attach_grad()
    return params, metadata


def _read(path, read):
    """The arrays in a file, by name, its metadata, and what to warn of."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise CheckpointError(f"{path} is too large: expected at most {MAX_BYTES} bytes")
            arrays, metadata, doubts = read(file)
            return arrays, _parsed(metadata, arrays), doubts
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except NotImplementedError as error:
        raise CheckpointError(
            f"{path} is not damaged, but is not supported: {error}") from error
    except Exception as error:  # decoding a damaged file can raise anything
        raise CheckpointError(printable(f"{path} is damaged: {error}; use another copy")) from error


def _parsed(metadata, arrays):
    """Parse the metadata, a dict; in the package's own files, it also counts the arrays."""
    metadata = json.loads(metadata)
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a JSON object")
    count = metadata.pop(COUNT, None)
    if count is not None and (count != len(arrays) or set(arrays) != set(names(count))):
        raise ValueError(f"arrays are missing, found {', '.join(map(str, arrays))}")
    return metadata


def _by_hand(path, arrays):
    """Three lines of Python that load all arrays of a file."""
    name = os.fspath(path)
    if name.lower().endswith(".npz"):
        return (f"import numpy as np; from mlp_mx.runtime import nd; params = [nd.array(array) for "
                f"name, array in np.load({name!r}).items() if name != 'metadata']")
    values = "arrays" if not arrays or 0 in arrays else "list(arrays.values())"
    return f"from mlp_mx.runtime import nd; arrays = nd.load({name!r}); params = {values}"

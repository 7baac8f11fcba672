"""Where MNIST's four files are on this machine, and whether they are whole."""

import hashlib
import os
import pathlib
from typing import NamedTuple

from .errors import InputError
from .files import absolute, open_regular

__all__ = ["CURE", "FILES", "Known", "file_status", "folder", "status"]


class Known(NamedTuple):
    """What is known of a file: its size in bytes, and its digests; gluon knows SHA-1."""

    size: int
    sha1: str
    sha256: str


# Y. LeCun's original files, which are also gluon's.
FILES = {
    "train-images-idx3-ubyte.gz": Known(
        9912422, "6c95f4b05d2bf285e1bfb0e7960c31bd3b3f8a7d",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": Known(
        28881, "2a80914081dc54586dbdf242f9805a6b8d2a15fc",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": Known(
        1648877, "c3a25af1f52dad7f726cce8cacb138654b760d48",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": Known(
        4542, "763e7fa3757d93b0cdec073cef058b2004252c17",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
CURE = "choose another folder with --data-dir or MLP_MX_DATA"


def folder(data_dir=None):
    """The absolute path of the folder for the MNIST files; it need not exist.

    It is the first of these that is set: `data_dir`, ``$MLP_MX_DATA``,
    ``$MXNET_HOME/datasets/mnist``, and ``~/.mxnet/datasets/mnist``, gluon's default.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If there is no home folder for ``~``, or if the path is relative to a deleted folder.
    """
    home = os.environ.get("MXNET_HOME") or "~/.mxnet"
    path = data_dir or os.environ.get("MLP_MX_DATA") or os.path.join(home, "datasets", "mnist")
    expanded = os.path.expanduser(path)
    if str(expanded).startswith("~"):
        raise InputError(f"{path}: no home folder found; set HOME, or {CURE}")
    return pathlib.Path(absolute(expanded))


def status(path):
    """Return the state of each of `FILES`: "verified", "missing", or what is wrong with it."""
    return {name: file_status(path / name) for name in FILES}


def file_status(path):
    """What `status` says of one file."""
    known = FILES[path.name]
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size != known.size:
                return "wrong size"
            found = hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return "verified" if found == known.sha256 else "wrong SHA-256"

"""Download and verify the four MNIST files."""

import contextlib
import gzip
import hashlib
import os
import pathlib
import time
import zlib

from . import download
from .. import Error, InputError
from .._support import mirrors
from .._support.files import WriteError, absolute, open_regular, whole_file

__all__ = ["DownloadError", "FILES", "MIRRORS", "fetch", "folder", "status"]

# Size in bytes and SHA-256 of Y. LeCun's original files, which are also gluon's.
FILES = {
    "train-images-idx3-ubyte.gz":
        (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz":
        (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz":
        (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz":
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
MIRRORS = mirrors.MIRRORS["mnist"]
SECONDS_TO_REPEAT = 10  # after which no mirror is tried again
ATTEMPTS = 5  # per file and mirror
CURE = "choose another folder with --data-dir or MLP_MX_DATA"


class DownloadError(Error):
    """Files are missing and could not be downloaded."""


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
    return {name: _file_status(path / name) for name in FILES}


def _file_status(path):
    size, digest = FILES[path.name]
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size != size:
                return "wrong size"
            found = hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return "verified" if found == digest else "wrong SHA-256"


def fetch(data_dir=None, progress=False):
    """Download the MNIST files that are missing or damaged.

    The mirror at ``$MLP_MX_MIRROR``, if set, is tried first. Files are verified before they get
    their names, so several processes may do this at once.

    Parameters
    ----------
    data_dir : path-like, optional
        See `folder`.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    pathlib.Path
        The folder, for ``gluon.data.vision.MNIST(root=…)``.

    Raises
    ------
    DownloadError
        If no mirror provides a file, or the folder cannot be written to. A mirror that sends less
        than 10 kB/s is abandoned after 6 seconds; if all do, this takes at most 25 seconds.
    InputError
        If the folder cannot be read, if it holds an intact file of another data set under one of
        the names, or if ``$MLP_MX_MIRROR`` is not a URL.
    """
    path = folder(data_dir)
    wanted = {name: state for name, state in status(path).items() if state != "verified"}
    for name, state in wanted.items():
        _check_replaceable(path / name, state)
    sources = mirrors.own_first(MIRRORS) if wanted else ()
    for name, state in wanted.items():
        # Ask the mirror that delivered this file first for the next one; each once (see `fetch`).
        sources = tuple(dict.fromkeys((_obtain(path / name, state, sources, progress), *sources)))
    return path


def _check_replaceable(path, state):
    """Raise an `InputError` unless the file is missing, or a damaged MNIST file."""
    if state.startswith("unreadable"):
        raise InputError(f"{path} is {state}; make it readable, or {CURE}")
    if state == "missing":
        return
    found, (size, _) = path.stat().st_size, FILES[path.name]
    if found > size:
        raise InputError(f"{path} has {found} bytes, more than MNIST's {size}; move it, or {CURE}")
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
        while file.read(1 << 20):
            pass
        if file.tell():  # intact, so it belongs to another data set
            raise InputError(f"{path} is intact but is not MNIST's ({state}); move it, or {CURE}")


def _obtain(path, state, sources, progress):
    """Download a file and write it; return the mirror that provided it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:  # opened first: no download if it cannot be written
            mirror, content = _download(path, state, sources, progress)
            file.write(content)
        return mirror
    except (OSError, WriteError) as error:
        if _file_status(path) == "verified":  # another process, of another user, was first
            return sources[0]
        reason = getattr(error, "strerror", None) or error
        raise DownloadError(f"cannot save MNIST in {path.parent}: {reason}; {CURE}") from error


def _download(path, state, sources, progress):
    """Try the mirrors in turn; return the one that provides the file, and its content."""
    start, reasons, (size, digest) = time.monotonic(), {}, FILES[path.name]
    for number, mirror in enumerate(sources * ATTEMPTS):
        if number >= len(sources) and time.monotonic() > start + SECONDS_TO_REPEAT:
            break
        try:
            content = download.get(mirror + path.name, size, progress)
        except download.Failed as error:
            reasons[mirror] = str(error)
        except OSError as error:
            raise DownloadError(f"{path.name} cannot be downloaded: {error}; correct or unset "
                                "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE") from error
        else:
            if hashlib.sha256(content).hexdigest() == digest:
                return mirror, content
            reasons[mirror] = "wrong SHA-256"
    raise DownloadError(
        f"{path.name} ({state}) could not be downloaded to {path.parent}. Put MNIST's four .gz "
        "files there, or set MLP_MX_MIRROR to the URL of a folder that has them. Tried: "
        f"{_by_reason(reasons)}")


def _by_reason(reasons):
    """The mirrors that failed, without passwords, grouped by the reason."""
    groups = {}
    for mirror, reason in reasons.items():
        shown = mirrors.without_password(mirror).partition("//")[2].rstrip("/")
        groups.setdefault(reason, []).append(shown)
    return "; ".join(f"{', '.join(shown)} ({reason})" for reason, shown in groups.items())

"""Download the four MNIST files."""

import contextlib
import gzip
import hashlib
import time
import zlib

from .._support import mirrors
from .._support.errors import Error, InputError
from .._support.files import WriteError, whole_file
from .._support.mnist_files import CURE, FILES, file_status, folder, status
from . import download

__all__ = ["CURE", "DownloadError", "FILES", "MIRRORS", "fetch", "folder", "status"]

MIRRORS = mirrors.MIRRORS["mnist"]
SECONDS_TO_REPEAT = 10  # after which no mirror is tried again
ATTEMPTS = 5  # per file and mirror


class DownloadError(Error):
    """Files are missing and could not be downloaded."""


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
    found, size = path.stat().st_size, FILES[path.name].size
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
        if file_status(path) == "verified":  # another process, of another user, was first
            return sources[0]
        reason = getattr(error, "strerror", None) or error
        raise DownloadError(f"cannot save MNIST in {path.parent}: {reason}; {CURE}") from error


def _download(path, state, sources, progress):
    """Try the mirrors in turn; return the one that provides the file, and its content."""
    start, reasons, known = time.monotonic(), {}, FILES[path.name]
    for number, mirror in enumerate(sources * ATTEMPTS):
        if number >= len(sources) and time.monotonic() > start + SECONDS_TO_REPEAT:
            break
        try:
            content = download.get(mirror + path.name, known.size, progress)
        except download.Failed as error:
            reasons[mirror] = str(error)
        except OSError as error:
            raise DownloadError(f"{path.name} cannot be downloaded: {error}; correct or unset "
                                "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE") from error
        else:
            if hashlib.sha256(content).hexdigest() == known.sha256:
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

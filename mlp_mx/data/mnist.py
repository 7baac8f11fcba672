"""Download and verify the four MNIST files."""

import contextlib
import gzip
import hashlib
import os
import pathlib
import time
import zlib

from .. import Error, InputError
from .._support import mirrors as _mirrors
from .._support.files import absolute, open_regular
from .._support.progress import bar

__all__ = ["DownloadError", "FILES", "MIRRORS", "fetch", "folder", "mirrors", "status"]

# SHA-256 of Y. LeCun's original files, which are also gluon's.
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MIRRORS = _mirrors.MIRRORS["mnist"]
SECONDS_TO_CONNECT = 2  # to each address of a mirror; some have eight
SECONDS_TO_ANSWER = 8
SECONDS_TO_FAIL = 10  # after which no new attempt at a file is made
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
    """A dict that says for each of `FILES`: "verified", "missing", or what is wrong with it."""
    return {name: _file_status(path / name, digest) for name, digest in FILES.items()}


def _file_status(path, digest):
    try:
        with open_regular(path) as file:
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
        If no mirror delivers a file (after at most 25 seconds), or the folder cannot be written to.
    InputError
        If the folder cannot be read, if it holds an intact file of another data set under one of
        the names, or if ``$MLP_MX_MIRROR`` is not a URL.
    """
    path = folder(data_dir)
    wanted = {name: state for name, state in status(path).items() if state != "verified"}
    for name, state in wanted.items():
        _check_replaceable(path / name, state)
    sources = mirrors() if wanted else ()
    for name, state in wanted.items():
        # Ask the mirror that delivered this file first for the next one.
        sources = (_download(name, state, path, sources, progress), *sources)
    return path


def _check_replaceable(path, state):
    """Raise an `InputError` unless the file is missing or damaged."""
    if state.startswith("unreadable"):
        raise InputError(f"{path} is {state}; make it readable, or {CURE}")
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
        while file.read(1 << 20):
            pass
        if file.tell():  # intact, so it belongs to another data set
            raise InputError(f"{path} is intact but not MNIST's ({state}); move it, or {CURE}")


def mirrors():
    """The base URLs to try: `MIRRORS`, after ``$MLP_MX_MIRROR`` if that is set."""
    return _mirrors.own_first(MIRRORS)


def _download(name, state, path, sources, progress):
    """Try the mirrors in turn; return the one that delivered the file."""
    import requests

    deadline, problems = time.monotonic() + SECONDS_TO_FAIL, {}
    for mirror in sources * ATTEMPTS:
        try:
            _retrieve(mirror, name, path, progress)
            return mirror
        except (requests.RequestException, ValueError) as error:
            problems[mirror] = _reason(error)
        except OSError as error:
            if not error.strerror and not isinstance(error, PermissionError):
                raise DownloadError(f"{name} cannot be downloaded: {error}; see REQUESTS_CA_BUNDLE "
                                    "and CURL_CA_BUNDLE") from error
            reason = error.strerror or "permission denied"  # pooch's has no strerror
            raise DownloadError(f"cannot save MNIST in {path}: {reason}; {CURE}") from error
        if time.monotonic() > deadline:
            break
    tried = "; ".join(f"{_mirrors.without_password(mirror)}: {problem}"
                      for mirror, problem in problems.items())
    raise DownloadError(
        f"{name} ({state}) could not be downloaded to {path}: {tried}. Set MLP_MX_MIRROR to the URL "
        f"of another mirror, or download {', '.join(FILES)} and name their folder with --data-dir "
        "or MLP_MX_DATA"
    )


def _retrieve(mirror, name, path, progress):
    """Download one file under a temporary name, and rename it once verified."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar says enough
    # A total of 1, which pooch then corrects: it takes a bar without a total for none.
    with bar(show=progress, desc=name, total=1, unit="B", unit_scale=True) as shown:
        downloader = pooch.HTTPDownloader(
            progressbar=shown,
            timeout=(SECONDS_TO_CONNECT, SECONDS_TO_ANSWER),
            headers={"Accept-Encoding": "identity"},  # or requests might unzip the file
        )
        pooch.retrieve(mirror + name, f"sha256:{FILES[name]}", name, path, downloader=downloader)
    with contextlib.suppress(PermissionError):  # another user's process was first
        os.chmod(path / name, 0o644)  # pooch's temporary files are private


def _reason(error):
    """Why a mirror failed, in a few words."""
    if getattr(error, "response", None) is not None:
        return f"HTTP {error.response.status_code}"
    if not isinstance(error, OSError):  # so it is pooch's ValueError
        return "wrong SHA-256"
    return "timed out" if "timed out" in str(error) else "connection failed"

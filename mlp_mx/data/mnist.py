"""The four MNIST files: their names and digests, the mirrors, and where they are kept."""

import collections
import contextlib
import gzip
import hashlib
import os
import pathlib
import threading
import time
import zlib

from .. import Error, InputError
from .._support import progress as progress_bars

__all__ = ["DownloadError", "FILES", "MIRRORS", "fetch", "folder", "status"]

# SHA-256 of Y. LeCun's original files, which are also gluon's.
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# LeCun's own host answers 403 today, and the bucket in which gluon looks is gone.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
SECONDS_TO_ANSWER = 8  # of silence, after which a mirror counts as dead
SECONDS_TO_FAIL = 10  # of failed attempts at one file, after which no new one is made
ATTEMPTS = 5  # at one file, for each mirror


class DownloadError(Error):
    """The files are not there and could not be fetched."""


def folder(data_dir=None):
    """Where the MNIST files are kept: by default where gluon keeps them.

    Parameters
    ----------
    data_dir : path-like, optional
        Used as it is. By default the environment says it: ``$MLP_MX_DATA``, else
        ``$MXNET_HOME/datasets/mnist``, else ``~/.mxnet/datasets/mnist``.

    Returns
    -------
    pathlib.Path
        Absolute, and not necessarily that of an existing folder.
    """
    chosen = data_dir or os.environ.get("MLP_MX_DATA")
    home = os.environ.get("MXNET_HOME") or "~/.mxnet"
    path = chosen or os.path.join(home, "datasets", "mnist")
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))


def status(path):
    """Look at the four files in a folder, without changing anything.

    Returns
    -------
    dict of str to str
        For each name in `FILES`: "verified", "missing", "wrong SHA-256", or "unreadable (why)".
    """
    return {name: _file_status(path / name, digest) for name, digest in FILES.items()}


def _file_status(path, digest):
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return "verified" if found == digest else "wrong SHA-256"


def _is_whole(path):
    """Whether a gzip file is undamaged, and so may be another data set's, which nobody gave up."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
            return file.tell() > 0
    except (OSError, EOFError, zlib.error):
        return False


def fetch(data_dir=None, progress=False):
    """Make sure that the four MNIST files are there, and are the right ones.

    Files that are there and right are left alone, and the folder may then be read-only. Missing
    and damaged ones are downloaded, from the mirror at the URL in ``$MLP_MX_MIRROR`` first if that
    is set; each takes its name only once its SHA-256 is right, so several processes may do this at
    once.

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
        If a file could not be had from any mirror (without a network, after 10 seconds or less),
        or not be written to the folder.
    InputError
        If the folder cannot be read, if a file in it is whole and another than MNIST's, or if the
        mirror's URL is none.
    """
    path = folder(data_dir)
    wanted = {name: state for name, state in status(path).items() if state != "verified"}
    for name, state in wanted.items():
        if state.startswith("unreadable"):
            raise InputError(f"{path / name} is {state}; mend that, or use --data-dir")
        if state == "wrong SHA-256" and _is_whole(path / name):
            raise InputError(f"{path / name} is whole, but not MNIST's ({state}); move it away, or "
                             "name another folder with --data-dir or MLP_MX_DATA")
    if wanted:
        _download(wanted, path, progress)
    return path


def _download(wanted, path, progress):
    mirrors = _mirrors()
    problems = _silent_mirrors(mirrors, next(iter(wanted)))
    answering = collections.deque(mirror for mirror in mirrors if mirror not in problems)
    try:
        for name, state in wanted.items():
            _download_file(name, state, path, answering, problems, progress)
    except OSError as error:
        raise DownloadError(
            f"{path} lacks MNIST, and cannot be written to "
            f"({error.strerror or 'permission denied'}); "
            "name another folder with --data-dir or MLP_MX_DATA"
        ) from error


def _mirrors():
    """The mirrors' base URLs, the user's own first."""
    own = os.environ.get("MLP_MX_MIRROR")
    if not own:
        return MIRRORS
    if not own.startswith(("http://", "https://")):
        raise InputError(f"MLP_MX_MIRROR: expected a URL that begins with http, found {own!r}")
    return tuple(dict.fromkeys((own.rstrip("/") + "/", *MIRRORS)))  # it may be one of these


def _silent_mirrors(mirrors, name):
    """Ask all mirrors at once, and wait for `SECONDS_TO_ANSWER` in all.

    Without a network, each name look-up and each address of each mirror may take its own
    time-out, one after the other, and nothing but a thread can be left behind in that.

    Returns
    -------
    dict of str to str
        For each mirror that does not answer, what is wrong. Any HTTP status is an answer.
    """
    import requests

    problems = dict.fromkeys(mirrors, f"no answer in {SECONDS_TO_ANSWER} s")

    def ask(mirror):
        try:
            requests.head(mirror + name, timeout=SECONDS_TO_ANSWER).close()
            del problems[mirror]
        except Exception as error:  # a thread has nobody else to tell
            problems[mirror] = _reason(error)

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(problems)


def _download_file(name, state, path, mirrors, problems, progress):
    """Try the mirrors in turn until one delivers; that one stays in front for the next file."""
    import requests

    deadline = time.monotonic() + SECONDS_TO_FAIL
    for _ in range(ATTEMPTS * len(mirrors)):
        if not mirrors or time.monotonic() > deadline:
            break
        try:
            return _retrieve(mirrors[0], name, path, progress)
        except (requests.RequestException, ValueError) as error:  # ValueError: wrong SHA-256
            problems[mirrors[0]] = _reason(error)
            if _is_final(error):
                mirrors.popleft()
            else:
                mirrors.rotate(-1)
    tried = "; ".join(f"{mirror} {problem}" for mirror, problem in problems.items())
    raise DownloadError(
        f"{name} ({state}) could not be downloaded to {path}: {tried}. Put {', '.join(FILES)} there, "
        "or name their folder with --data-dir or MLP_MX_DATA, "
        "or name the URL of a folder that has them with MLP_MX_MIRROR"
    )


def _retrieve(mirror, name, path, progress):
    """Download one file under a temporary name, verify it, and only then give it its name."""
    import pooch  # here, because it takes a while to import and is seldom needed

    pooch.get_logger().setLevel("WARNING")  # the bar says what it would say
    # A total of 1 until pooch knows it, because it takes a bar without a total for none at all.
    with progress_bars.bar(show=progress, desc=name, total=1, unit="B", unit_scale=True) as bar:
        downloader = pooch.HTTPDownloader(
            progressbar=bar,
            timeout=SECONDS_TO_ANSWER,
            headers={"Accept-Encoding": "identity"},  # else requests might unzip the file
        )
        pooch.retrieve(mirror + name, f"sha256:{FILES[name]}", name, path, downloader=downloader)
    with contextlib.suppress(PermissionError):  # another user's process was first
        os.chmod(path / name, 0o644)  # pooch's temporary files are for their owner alone


def _is_final(error):
    """Whether asking the same mirror again is of no use, as after 403 and 404."""
    response = getattr(error, "response", None)
    return response is not None and 400 <= response.status_code < 500


def _reason(error):
    """Say in a few words why a mirror failed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer in {SECONDS_TO_ANSWER} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "cut the connection"
    if isinstance(error, requests.RequestException):
        return "could not be reached"
    if isinstance(error, ValueError):
        return "sent a file with the wrong SHA-256"
    return f"failed ({type(error).__name__})"

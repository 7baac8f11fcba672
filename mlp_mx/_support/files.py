"""Write files whole or not at all, and read files without waiting for pipes."""

import contextlib
import errno
import os
import stat
import tempfile

from .errors import Error, InputError

__all__ = [
    "WriteError", "absolute", "append_line", "check_suffix", "check_writable", "open_regular",
    "whole_file",
]


class WriteError(Error):
    """A file could not be written; its previous content is unchanged."""


@contextlib.contextmanager
def whole_file(path):
    """Open a binary file that replaces `path` only once it is complete on the disk.

    If writing ends early, by an error or by a kill, `path` keeps its previous content. Links are
    followed. An existing file's permissions are kept, and its owner where the system allows that.
    Every failure is a `WriteError`.
    """
    with _one_error(path, WriteError), _replacement(os.path.realpath(path)) as file:
        yield file


@contextlib.contextmanager
def _replacement(path):
    status, mode = _status_and_mode(path)
    handle, temporary = tempfile.mkstemp(prefix=".mlp_mx-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if status:
            _give(temporary, status.st_uid, -1)
            _give(temporary, -1, status.st_gid)
        os.chmod(temporary, mode)  # mkstemp's files are readable by their owner alone
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _give(path, user, group):
    with contextlib.suppress(OSError):  # only root may give files to others
        os.chown(path, user, group)


def append_line(path, line):
    """Append a line of bytes to a file; raise a `WriteError` unless all of it was written.

    If the last line is incomplete, it is ended first.
    """
    # Buffered: what a full disk does not take of the line is an error, not a smaller count.
    with _one_error(path, WriteError), open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        file.write(line + b"\n")


def check_writable(path, *suffixes):
    """Raise an `InputError` if `path` has another suffix or cannot be written; change nothing."""
    if suffixes:
        check_suffix(path, *suffixes)
    with _one_error(path, InputError):
        real = os.path.realpath(path)
        _status_and_mode(real)
        with tempfile.TemporaryFile(dir=os.path.dirname(real)):
            pass


@contextlib.contextmanager
def _one_error(path, kind):
    """Turn what writing to `path` may raise into one error that names it."""
    try:
        _check_name(path)
        yield
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or os.strerror(errno.ENOMEM)
        raise kind(f"{path} cannot be written: {reason}") from error


def _status_and_mode(path):
    """Return the `os.stat` of the file at `path`, if any, and the permissions to give it."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return None, 0o666 & ~umask
    _check_regular(path, status.st_mode)
    if not os.access(path, os.W_OK):  # its folder's permission would be enough to replace it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return status, stat.S_IMODE(status.st_mode)


def _check_name(path):
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "a file name cannot contain null characters", path)


def _check_regular(path, mode):
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


@contextlib.contextmanager
def open_regular(path):
    """Open a file to read bytes from.

    Raises an `OSError` with the file's name for pipes and devices, which might never end, for files
    larger than memory, and for names that no file can have.
    """
    _check_name(path)
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            _check_regular(path, os.fstat(file.fileno()).st_mode)
            yield file
    except MemoryError as error:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), os.fspath(path)) from error


def _open_without_waiting(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)


def absolute(path):
    """Return the absolute path; raise an `InputError` if the current folder has been deleted."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: the current folder has been deleted; change to another one") from error


def check_suffix(path, *allowed):
    """Return the file name's suffix in lower case; raise an `InputError` if it is not allowed."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in allowed:
        *others, last = allowed
        names = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"expected a file name that ends in {names}, found {os.fspath(path)!r}")
    return suffix

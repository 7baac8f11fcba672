"""Write files whole or not at all, and read files without waiting for pipes."""

import contextlib
import errno
import os
import stat
import tempfile

from .. import Error, InputError

__all__ = [
    "WriteError", "check_suffix", "check_writable", "open_regular", "printable", "whole_file",
]


class WriteError(Error):
    """A file could not be written; its previous content is unchanged."""


@contextlib.contextmanager
def whole_file(path):
    """Open a binary file that replaces `path` only once it is complete on the disk.

    If writing ends early, by an error or by a kill, `path` keeps its previous content. Links are
    followed, and the permissions of an existing file are kept. Every failure is a `WriteError`.
    """
    try:
        with _replacement(os.path.realpath(path)) as file:
            yield file
    except OSError as error:
        raise WriteError(_unwritable(path, error)) from error


@contextlib.contextmanager
def _replacement(path):
    mode = _mode(path)
    handle, temporary = tempfile.mkstemp(prefix=".mlp_mx-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # mkstemp's files are readable by their owner alone
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def check_writable(path, *suffixes):
    """Raise an `InputError` if `path` has another suffix or cannot be written; change nothing."""
    if suffixes:
        check_suffix(path, *suffixes)
    try:
        real = os.path.realpath(path)
        _mode(real)
        with tempfile.TemporaryFile(dir=os.path.dirname(real)):
            pass
    except OSError as error:
        raise InputError(_unwritable(path, error)) from error


def _unwritable(path, error):
    return f"{path} cannot be written: {error.strerror or error}"


def _mode(path):
    """The permissions of the file at `path`, or those of a new one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
    _check_regular(path, mode)
    if not os.access(path, os.W_OK):  # its folder's permission would be enough to replace it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return stat.S_IMODE(mode)


def _check_regular(path, mode):
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def open_regular(path):
    """Open a file for reading; a pipe or a device, which might never end, is an `OSError`."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def check_suffix(path, *allowed):
    """The file name's suffix in lower case; raise an `InputError` if it is not allowed."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if "\0" in os.fspath(path):
        raise InputError(f"expected a file name without NUL, found {os.fspath(path)!r}")
    if suffix not in allowed:
        *others, last = allowed
        names = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"expected a file name that ends in {names}, found {os.fspath(path)!r}")
    return suffix


def printable(text):
    """Text that a file may have a part in, in one line and without control characters."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)

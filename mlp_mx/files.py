"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import stat
import tempfile

__all__ = ["check_writable", "whole_file"]


@contextlib.contextmanager
def whole_file(path):
    """Open a file for writing that takes the place of `path` only once it is complete on the disk.

    Whatever ends the writing before, be it an error or a kill, leaves what was at `path`.

    Parameters
    ----------
    path : path-like
        In a folder that exists. A link is followed; an existing file's permissions are kept.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If the path is a folder, a device or the like, or cannot be written to.
    """
    path = os.path.realpath(path)
    mode = _mode(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path)
    )
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(path):
    """Raise the `OSError` that `whole_file` would raise at its beginning; change nothing."""
    path = os.path.realpath(path)
    _mode(path)
    with tempfile.TemporaryFile(dir=os.path.dirname(path)):
        pass


def _mode(path):
    """The permissions of the file at `path`, or those of a new one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return stat.S_IMODE(mode)

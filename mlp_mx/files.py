"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile

__all__ = ["whole_file"]


@contextlib.contextmanager
def whole_file(path):
    """Open a file for writing that takes the place of `path` only once it is complete on the disk.

    Whatever ends the writing before, be it an error or a kill, leaves what was at `path`.

    Parameters
    ----------
    path : path-like
        In a folder that exists.

    Yields
    ------
    binary file
    """
    path = os.path.abspath(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path)
    )
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

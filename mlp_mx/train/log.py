"""Logs: files with one JSON object a line, to which lines are added and of which none is lost."""

import json
import os

from .. import InputError
from .._support.files import WriteError, check_writable, open_regular

__all__ = ["Log", "read"]


class Log:
    """A log to add to; with the first line, one that was cut off before is taken out of it.

    Parameters
    ----------
    path : path-like
        Of a log, or of no file yet; it is created with the first line.

    Raises
    ------
    InputError
        If the file has something else in it, or cannot be written to.
    """

    def __init__(self, path):
        self.path = path
        self._unwritten = b""
        self._end = None  # of the last whole line, if something is to be taken out after it
        try:
            if os.path.isfile(path):
                with open(path, "rb+") as file:
                    content = file.read()
                end = _parse(content, path)[1]
                if end < len(content):
                    self._end = end
                elif content and not content.endswith(b"\n"):  # a line that lacks only its end
                    self._unwritten = b"\n"
            else:
                check_writable(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error

    def append(self, **record):
        """Add a line with whatever JSON can hold; see `flush`."""
        self._unwritten += json.dumps(record).encode() + b"\n"
        self.flush()

    def flush(self):
        """Write what could not be written before.

        Raises
        ------
        mlp_mx.files.WriteError
            If the disk is still full, for example. The next call tries again.
        """
        if not self._unwritten:
            return
        try:
            if self._end is not None:
                os.truncate(self.path, self._end)
                self._end = None
            with open(self.path, "ab", buffering=0) as file:  # one write, which no kill can cut
                while self._unwritten:
                    self._unwritten = self._unwritten[file.write(self._unwritten):]
        except OSError as error:
            raise WriteError(f"{self.path} cannot be written: {error.strerror}") from error


def read(path):
    """Read a log; a last line that was cut off does not count.

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        If the file cannot be read, or has something else in it.
    """
    try:
        with open_regular(path) as file:
            return _parse(file.read(), path)[0]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _parse(content, path):
    """The records, and where the last whole one ends."""
    records, end = [], 0
    for line in content.splitlines(keepends=True):
        if not line.strip(b"\0\r\n "):  # as a power failure may leave it
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError
        except (ValueError, RecursionError):  # the latter of lists in lists in lists
            if line.endswith(b"\n") or line[:2] not in (b"{", b'{"'):
                raise InputError(f"{path} is no log of this package: expected one JSON object a "
                                 f"line, found {line[:40]!r}; name another file") from None
            break
        records.append(record)
        end = content.index(line, end) + len(line)
    return records, end

"""The record of a run: its model, saved after every epoch, its log, and its learning curves."""

import json
import os
import tempfile
import warnings

from .. import Error, InputError, checkpoint, plot
from .._support.files import WriteError, check_writable, open_regular
from . import published

__all__ = ["Recorder", "append", "read"]


class Recorder:
    """Saves the model, logs one JSON line per epoch, and draws the learning curves of a run.

    A file that cannot be written is an `InputError` at the beginning; later it is only a warning,
    until `finish`. `history` has the records of all epochs, `saved` says where the model is.
    """

    def __init__(self, save=None, log=None, plot=None):
        self._save_path, self._log_path, self._plot_path = save, log, plot
        self.saved = None
        self._spare = None  # where the model goes if it cannot go where it should
        self._problems = {}  # by file
        _check(save, log, plot)

    def begin(self, params, settings, history=()):
        """Name what to record: parameters that training changes, settings, and earlier epochs."""
        self._params, self._settings, self.history = params, settings, list(history)
        if history:
            self._attempt(self._save_path, self._save)

    def epoch(self, record):
        """Log and save an epoch, given its record, a dict."""
        self.history.append(record)
        self._attempt(self._log_path, lambda: append(
            self._log_path, {**self._settings, **record}))
        self._attempt(self._save_path, self._save)

    def finish(self):
        """Draw the curves; raise an `Error` if something is not written where it should be."""
        if self.history:
            self._attempt(self._plot_path, self._draw)
        elif self._plot_path:
            warnings.warn(f"{self._plot_path} was not drawn: no epoch was completed")
        if self._problems:
            raise Error("; ".join(self._problems.values()))

    def _attempt(self, path, write):
        if path is None:
            return
        try:
            write()
            self._problems.pop(path, None)
        except Error as error:
            self._problems[path] = str(error)
            warnings.warn(str(error))

    def _save(self):
        metadata = {**self._settings, **self.history[-1], "history": self.history}
        try:
            checkpoint.save(self._save_path, self._params, **metadata)
            self.saved = self._save_path
        except checkpoint.CheckpointError as error:
            self.saved = self._save_elsewhere(metadata, error)
            raise Error(f"{error}; the model is saved as {self.saved}") from error

    def _save_elsewhere(self, metadata, reason):
        suffix = os.path.splitext(self._save_path)[1]
        try:
            self._spare = self._spare or os.path.join(
                tempfile.mkdtemp(prefix="mlp_mx-"), f"model{suffix}")
            checkpoint.save(self._spare, self._params, **metadata)
        except (OSError, checkpoint.CheckpointError) as error:
            raise Error(f"{reason}, and {error}: the model is not saved") from error
        return self._spare

    def _draw(self):
        names = ("epoch", "loss", "train_accuracy", "test_accuracy")
        curves = [[record[name] for record in self.history] for name in names]
        runs = published.RUNS if self._settings["dataset"] == "MNIST" else None
        plot.save(plot.learning_curves(*curves, runs), self._plot_path)


def _check(save, log, figure):
    if save is not None:
        checkpoint.check_path(save)
    if figure is not None:
        plot.check_path(figure)
    if log is not None:
        check_writable(log)
        if os.path.exists(log):
            read(log)


def append(path, record):
    """Add a record, a dict, to a log in one write; a `WriteError` if that fails."""
    line = json.dumps(record).encode() + b"\n"
    try:
        with open(path, "ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read() == b"\n" else b"\n" + line  # after one that was cut
            file.write(line)
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror}") from error


def read(path):
    """Read a log, a list of dicts; lines that a kill or a power failure has cut are skipped.

    An `InputError` if the file cannot be read, or has something else in it.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    records = [_parsed(line, path) for line in lines if line.strip(b"\0\r\n ")]
    return [record for record in records if record is not None]


def _parsed(line, path):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # the latter of lists in lists in lists
        record = None
    if not isinstance(record, dict) and line[:2] not in (b"{", b'{"'):
        raise InputError(f"{path} is not a log of this package: expected one JSON object per line, "
                         f"found {line[:40].decode(errors='replace')!r}; use another file")
    return record

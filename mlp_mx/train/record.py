"""What a run leaves: its model, saved after every epoch, its log, and its learning curves."""

import json
import os
import warnings

from .. import checkpoint, plot
from .._support.errors import Error, InputError
from .._support.files import append_line, check_writable, open_regular
from . import published

__all__ = ["Curves", "Log", "Model", "Recorder", "append", "check", "read"]


class Recorder:
    """Writes each epoch's record, a dict, to a model, a log and curves: those with a path.

    If a file cannot be written, this warns, and tries again after the next epoch. `finish` raises
    an `Error` if a file is still not written.

    Parameters
    ----------
    params : list of NDArray
        The parameters that training changes.
    settings : dict
        Saved and logged with every epoch.
    history : list of dict
        Records of earlier epochs.
    save, log, plot : path-like, optional
        Files for the model, the log and the curves.
    classes : list of str, optional
        The names of the classes, saved with the model.
    """

    def __init__(
        self, params, settings, history=(), save=None, log=None, plot=None, classes=None
    ):
        self.history = list(history)
        metadata = {**settings, "classes": classes} if classes else settings
        self.model = Model(save, params, metadata, self.history)
        curves = Curves(plot, settings, self.history)
        # The log first: a kill between the two leaves an epoch that is logged and trained again.
        self._sinks = [sink for sink in (Log(log, settings), self.model, curves) if sink.path]
        self._problems = {}  # by sink
        for sink in self._sinks:
            if history and sink in (self.model, curves):  # what a resumed run starts from
                self._write(sink, self.history[-1])

    def write(self, record):
        """Record an epoch."""
        self.history.append(record)
        for sink in self._sinks:
            self._write(sink, record)

    def _write(self, sink, record):
        try:
            sink.write(record)
            self._problems.pop(sink, None)
        except Error as error:
            if sink not in self._problems:
                warnings.warn(str(error))
            self._problems[sink] = str(error)

    def finish(self):
        """Raise an `Error` if a file is not written."""
        if self._problems:
            raise Error("; ".join(self._problems.values()))


class Model:
    """Saves the parameters, the settings and the history of a run."""

    def __init__(self, path, params, settings, history):
        self.path, self._params, self._settings, self._history = path, params, settings, history
        self.epoch = None  # the one after which the model was saved last

    def write(self, record):
        checkpoint.save(
            self.path, self._params, **{**self._settings, **record, "history": self._history})
        self.epoch = record["epoch"]


class Log:
    """Appends a JSON line for each epoch, and with it those that could not be written before."""

    def __init__(self, path, settings):
        self.path, self._settings, self._waiting = path, settings, []

    def write(self, record):
        self._waiting.append({**self._settings, **record})
        while self._waiting:
            append(self.path, self._waiting[0])
            del self._waiting[0]


class Curves:
    """Draws the learning curves after the last epoch."""

    def __init__(self, path, settings, history):
        self.path, self._settings, self._history = path, settings, history

    def write(self, record):
        if record["epoch"] + 1 < self._settings["epochs"]:
            return
        names = ("epoch", "loss", "train_accuracy", "test_accuracy")
        curves = [[record[name] for record in self._history] for name in names]
        runs = published.RUNS if self._settings["dataset"] == "MNIST" else None
        plot.save(plot.learning_curves(*curves, runs), self.path)


def check(save=None, log=None, figure=None):
    """Raise an `InputError` if a model, a log or curves cannot be written; change nothing."""
    if save is not None:
        checkpoint.check_path(save)
    if figure is not None:
        plot.check_path(figure)
    if log is not None:
        check_writable(log)
        if os.path.exists(log):
            read(log)


def append(path, record):
    """Append a record, a dict, to a log; raise a `WriteError` if that fails."""
    append_line(path, json.dumps(record).encode())


def read(path):
    """Read a log, a list of dicts; lines cut off by a kill or a power failure are skipped.

    Raises an `InputError` if the file cannot be read, or holds something else.
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

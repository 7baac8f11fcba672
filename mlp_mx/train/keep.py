"""What a run leaves behind: its model, saved now and then, a log of its epochs, and a picture."""

import os
import tempfile
import warnings

from .. import Error, checkpoint, plot
from .._support.files import WriteError
from . import published
from .log import Log

__all__ = ["Keeper"]


class Keeper:
    """Saves and logs while training goes on, and loses nothing where that fails.

    Parameters
    ----------
    path : path-like, optional
        Where to save the model; by default nowhere.
    every : int, default 1
        Epochs from one save to the next.
    log_path : path-like, optional
        Of the log, which gets one line an epoch.
    plot_path : path-like, optional
        Of the picture of the learning curves, drawn at the end.

    Raises
    ------
    InputError
        If one of these cannot be written.
    """

    def __init__(self, path=None, every=1, log_path=None, plot_path=None):
        if path is not None:
            checkpoint.check_path(path)
        if plot_path is not None:
            plot.check_path(plot_path)
        self._plot_path = plot_path
        self._path = path
        self._every = every
        self._log = Log(log_path) if log_path is not None else None
        self._saved = None  # the last path and position
        self._records = []

    def begin(self, params, metadata):
        """Name the parameters to save, NDArrays that training changes, and the run's settings."""
        self._params, self._metadata = params, metadata

    def epoch(self, record, position):
        """Log an epoch, and save after it if it is time to; what goes wrong is only a warning.

        Parameters
        ----------
        record : dict
            What is known about the epoch.
        position : dict
            Where training goes on after it.
        """
        self._metadata = {**self._metadata, **record}
        self._records.append(record)
        try:
            if self._log:
                self._log.append(**self._metadata)
            if self._path is not None and position["epoch"] % self._every == 0:
                self._save(self._path, position)
        except (WriteError, checkpoint.CheckpointError) as error:
            warnings.warn(f"after epoch {record['epoch']}, {error}", stacklevel=2)

    def finish(self, position):
        """Save and log what is not saved and logged yet, and draw.

        Where the model cannot be saved, it is saved in a folder for temporary files.

        Returns
        -------
        str
            Where the model is saved; empty where it was not to be.

        Raises
        ------
        Error
            If something could not be written where it should be.
        """
        problems = []
        for step in (lambda: self._save_somewhere(position), self._flush, self._draw):
            try:
                step()
            except Error as error:
                problems.append(error)
        if problems:
            raise problems[0]
        return "" if self._path is None else f"saved as {self._path}"

    def _save(self, path, position):
        checkpoint.save(path, self._params, **self._metadata, position=position)
        self._saved = path, position

    def _save_somewhere(self, position):
        if self._path is None or self._saved == (self._path, position):
            return
        try:
            self._save(self._path, position)
        except checkpoint.CheckpointError as error:
            suffix = os.path.splitext(self._path)[1]
            try:
                spare = os.path.join(tempfile.mkdtemp(prefix="mlp_mx-"), f"model{suffix}")
                self._save(spare, position)
            except (OSError, checkpoint.CheckpointError) as another:
                raise Error(f"{error}, and {another}: the model is lost") from error
            raise Error(f"{error}; the model is saved as {spare}") from error

    def _flush(self):
        if self._log:
            self._log.flush()

    def _draw(self):
        if self._plot_path is None:
            return
        if not self._records:
            warnings.warn(f"{self._plot_path} is not drawn, as no epoch was completed")
            return
        curves = {name: [record[name] for record in self._records] for name in self._records[0]}
        figure = plot.learning_curves(
            curves["epoch"], curves["loss"], curves["train_accuracy"], curves["test_accuracy"],
            published.RUNS if self._metadata["dataset"] == "MNIST" else None,
        )
        plot.save(figure, self._plot_path)

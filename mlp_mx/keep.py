"""What a run leaves behind: its model, saved now and then, and a log of its epochs."""

import os
import tempfile
import warnings

from . import Error, checkpoint
from .log import Log, LogError

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

    Raises
    ------
    InputError
        If the model or the log cannot be written.
    """

    def __init__(self, path=None, every=1, log_path=None):
        if path is not None:
            checkpoint.check_path(path)
        self._path = path
        self._every = every
        self._log = Log(log_path) if log_path is not None else None

    def begin(self, params, metadata):
        """Name the parameters to save, NDArrays that training changes, and the run's settings."""
        self._params, self._metadata = params, metadata
        self._saved = None  # the last path and position

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
        try:
            if self._log:
                self._log.append(**self._metadata)
            if self._path is not None and position["epoch"] % self._every == 0:
                self._save(self._path, position)
        except (LogError, checkpoint.CheckpointError) as error:
            warnings.warn(f"after epoch {record['epoch']}, {error}", stacklevel=2)

    def finish(self, position):
        """Save what is not saved yet, if need be in a folder for temporary files, and say where.

        Returns
        -------
        str
            Empty where nothing was to be saved.

        Raises
        ------
        Error
            If something could not be written where it should be.
        """
        try:
            if self._path is not None and self._saved != (self._path, position):
                self._save(self._path, position)
        except checkpoint.CheckpointError as error:
            spare = os.path.join(tempfile.mkdtemp(prefix="mlp_mx-"), os.path.basename(self._path))
            self._save(spare, position)
            raise Error(f"{error}; the model is saved as {spare}") from error
        if self._log:
            self._log.flush()
        return "" if self._path is None else f"saved as {self._path}"

    def _save(self, path, position):
        checkpoint.save(path, self._params, **self._metadata, position=position)
        self._saved = path, position

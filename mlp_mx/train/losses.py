"""The losses of an epoch's batches: added up, and watched for divergence."""

import numpy as np

from .. import Error, InputError
from ..runtime.lazy import nd

__all__ = ["CumulativeLoss", "DivergenceError", "check_finite"]

# Batches whose losses are read from the device at once. Reading each would make the Python thread
# wait each time; reading none would let it run ahead of the device, and memory grow with that.
BATCHES_PER_READ = 50
ADVICE = "training diverged; try a smaller --learning-rate, --batch-size or --weight-scale"


class DivergenceError(Error, ArithmeticError):
    """The loss, or a parameter, is not a finite number any more."""


class CumulativeLoss:
    """The sum of the losses of an epoch's examples, in nats."""

    def __init__(self, epoch):
        self._epoch = epoch
        self._sum, self._num_batches, self._num_examples = 0.0, 0, 0
        self._unread = []

    def add(self, loss, num_examples):
        """Add the summed loss of a batch, an NDArray of shape (1,)."""
        self._num_examples += num_examples
        self._unread.append(loss)
        if len(self._unread) == BATCHES_PER_READ:
            self._read()

    def mean(self, workers):
        """The mean over all examples; each of the workers has added a part of every loss."""
        self._read()
        if not self._num_examples:
            raise InputError("expected at least one example to train on, found none")
        return workers.total(self._sum)[0] / self._num_examples

    def _read(self):
        for loss in nd.concat(*self._unread, dim=0).asnumpy() if self._unread else ():
            if not np.isfinite(loss):
                raise DivergenceError(f"the loss is not finite in epoch {self._epoch}, batch "
                                      f"{self._num_batches}: {ADVICE}")
            self._sum += float(loss)
            self._num_batches += 1
        self._unread = []


def check_finite(params, epoch):
    """Raise a `DivergenceError` if a parameter is not finite after an epoch."""
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {ADVICE}")

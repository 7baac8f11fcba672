"""The losses of an epoch's batches: added up, and watched for divergence."""

import numpy as np

from .. import Error, InputError
from .._support.networks import check_any, warn_of
from ..runtime.lazy import nd

__all__ = ["CumulativeLoss", "DivergenceError", "check_changed", "check_finite"]

# Batches whose losses are read from the device at once. Reading each would make the Python thread
# wait each time; reading none would let it run ahead of the device, and memory grow with that.
BATCHES_PER_READ = 50
ADVICE = "training diverged; try a smaller learning rate, batch size or weight scale"
FIRST_ADVICE = "no step was taken before, so check the network, the loss, and the data"


class DivergenceError(Error, ArithmeticError):
    """The loss, or a parameter, is not a finite number any more."""


class CumulativeLoss:
    """The sum of the losses of an epoch's examples, in nats."""

    def __init__(self, epoch, net):
        self._epoch, self._net = epoch, net
        self._sum, self._num_batches, self._num_examples = 0.0, 0, 0
        self._unread, self._labels = [], []

    def add(self, loss, label):
        """Add the summed loss of a batch, an NDArray of shape (1,), and look at its labels."""
        self._num_examples += len(label)
        self._unread.append(loss)
        self._labels.append(label)
        if len(self._unread) == BATCHES_PER_READ:
            self._read()

    def mean(self, workers):
        """The mean over all examples; each of the workers has added a part of every loss."""
        self._read()
        check_any(self._num_examples, "train")
        return workers.total(self._sum)[0] / self._num_examples

    def _read(self):
        if not self._unread:
            return
        label = nd.concat(*self._labels, dim=0).asnumpy()
        num_outputs = self._net.num_outputs
        wrong = label[~np.isin(label, np.arange(num_outputs))]
        if wrong.size:  # `one_hot` would make it a row of zeros, and its loss 0
            raise InputError(f"expected labels from 0 to {num_outputs - 1}, one for each of "
                             f"the network's outputs, found {wrong[0]:g}")
        for loss in nd.concat(*self._unread, dim=0).asnumpy():
            if not np.isfinite(loss):
                advice = ADVICE if self._epoch or self._num_batches else FIRST_ADVICE
                raise DivergenceError(f"the loss is not finite in epoch {self._epoch}, batch "
                                      f"{self._num_batches}: {advice}")
            self._sum += float(loss)
            self._num_batches += 1
        self._unread, self._labels = [], []


def check_finite(params, epoch):
    """Raise a `DivergenceError` if a parameter is not finite after an epoch."""
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {ADVICE}")


def check_changed(before, params, epoch, net):
    """Warn if an epoch has changed no parameter."""
    if all(np.array_equal(old.asnumpy(), new.asnumpy()) for old, new in zip(before, params)):
        warn_of(net, f"no parameter changed in epoch {epoch}; check that the network uses the "
                "arrays in params, that the update changes them in place, as in param[:] = …, and "
                "that the learning rate is large enough")

"""The chapter's training: SGD, the metric, the loop, and ``python -m mlp_mx.train``."""

import time
from typing import NamedTuple

import numpy as np

from .. import Error, fast
from .._support import signals
from .._support.progress import steps
from ..runtime.lazy import autograd, nd

__all__ = [
    "DivergenceError", "Epoch", "Losses", "Position", "SGD", "evaluate_accuracy", "fit",
    "train_epoch",
]

# Batches whose losses are read from the device at once. Reading each would make the Python thread
# wait each time; reading none would let it run ahead of the device, and memory grow with that.
BATCHES_PER_READ = 50
# Examples evaluated at once, where they are in memory anyway.
EVALUATION_BATCH = 500

DIVERGED = "training diverged; try a smaller --learning-rate, --batch-size or --weight-scale"


class DivergenceError(Error, ArithmeticError):
    """The loss, or a parameter, is not a finite number any more."""


class Epoch(NamedTuple):
    """What `fit` reports of an epoch."""

    epoch: int
    """Its number, from 0."""
    loss: float
    """Mean over the epoch's examples, in nats, while the parameters changed."""
    train_accuracy: float
    """Fraction of the training examples classified rightly after the epoch."""
    test_accuracy: float
    """Fraction of the test examples classified rightly after the epoch."""
    seconds: float
    """Wall time of the epoch, training and evaluation together."""


class Position(NamedTuple):
    """How far training has come, between two batches."""

    epoch: int = 0
    """Number of the epoch that it is in."""
    batch: int = 0
    """Number of the next batch."""
    loss: float = 0.0
    """Sum of the losses of the epoch's examples so far, in nats."""


def SGD(params, lr):
    """Take one step of stochastic gradient descent, in place: param - lr * param.grad.

    Parameters
    ----------
    params : list of NDArray
        With gradients attached and computed.
    lr : float
        Learning rate.
    """
    # The chapter's param[:] = param - lr * param.grad passes over the memory three times. gemm, of
    # matrices with one row, computes alpha * A B + beta * C in one pass.
    row = one = nd.ones((1, 1), ctx=params[0].context)
    for param in params:
        if param.context != one.context:
            # From the row before, and so after its update: with OpenMP threads, the OpenBLAS in the
            # wheel hangs when two devices call it at the same time.
            one = nd.ones_like(row[:, :1]).as_in_context(param.context)
        row, grad = param.reshape((1, -1)), param.grad.reshape((1, -1))
        nd.linalg.gemm(one, grad, row, alpha=-lr, beta=1, out=row)


def evaluate_accuracy(data_iterator, params, workers=None):
    """Compute the fraction of examples that the network classifies rightly.

    Parameters
    ----------
    data_iterator : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``.
    workers : mlp_mx.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there is no example.
    """
    if hasattr(data_iterator, "in_order"):
        data_iterator = data_iterator.in_order(EVALUATION_BATCH)
    correct, seen = (workers or fast).count_correct(data_iterator, params)
    if not seen:
        raise ValueError("expected at least one example to evaluate on, found none")
    return correct / seen


def train_epoch(
    params, train_data, learning_rate, epoch=0, progress=False, losses=None, workers=None
):
    """Pass over the training data once, with one step of `SGD` for each batch.

    The gradient of a batch is that of the sum of its examples' losses, not of their mean.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, changed in place.
    train_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    learning_rate : float
    epoch : int, default 0
        Its number; an `mlp_mx.data.ArrayLoader` takes its order from it.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    losses : Losses, optional
        Of the epoch's first batches, where it goes on after those.
    workers : mlp_mx.distributed.Workers, optional
        Those to share each batch with; by default nobody.

    Returns
    -------
    float
        Mean loss of the epoch's examples, in nats.

    Raises
    ------
    DivergenceError
        If the loss of a batch is not finite, or a parameter after the last batch.
    ValueError
        If there is no example.
    """
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    losses = losses or Losses(Position(epoch))
    num_examples = 0
    with (workers or fast).training(params) as network:
        batches = steps(train_data, progress, desc=f"epoch {epoch}", unit="batch")
        for batch, (X, label) in enumerate(batches):
            num_examples += len(label)
            if batch < losses.batch:
                continue
            with autograd.record():
                loss = network.loss(X, label)
            loss.backward()
            if workers:
                loss = network.sum_up()  # with the gradients, over all devices
            SGD(network.params, learning_rate)
            losses.append(loss)
    if not num_examples:
        raise ValueError("expected at least one example to train on, found none")
    mean_loss = losses.position().loss / num_examples
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {DIVERGED}")
    return mean_loss


class Losses:
    """Adds up the batches' losses, and reads them from the device some at a time.

    Parameters
    ----------
    position : Position
        Where to go on adding.
    """

    def __init__(self, position):
        self._position = position
        self._unread = []

    @property
    def batch(self):
        """Number of the next batch."""
        return self._position.batch + len(self._unread)

    def append(self, loss):
        """Add a batch's summed loss, an NDArray of shape (1,)."""
        self._unread.append(loss)
        if len(self._unread) == BATCHES_PER_READ:
            self.position()

    def position(self):
        """How far the epoch has come; waits for the device.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
        epoch, batch, total = self._position
        for loss in nd.concat(*self._unread, dim=0).asnumpy() if self._unread else ():
            if not np.isfinite(loss):
                raise DivergenceError(
                    f"the loss is not finite in epoch {epoch}, batch {batch}: {DIVERGED}"
                )
            batch += 1
            total += float(loss)  # one after the other, so that a break changes no bit of the sum
        self._position, self._unread = Position(epoch, batch, total), []
        return self._position


def fit(
    params, train_data, test_data, epochs=10, learning_rate=0.001, start=Position(),
    progress=False, workers=None,
):
    """Train for some epochs, and evaluate after each.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, changed in place.
    train_data, test_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    epochs : int, default 10
        The number of the epoch to stop before.
    learning_rate : float, default 0.001
        Small, because a batch's loss is summed and not averaged.
    start : Position, default the beginning
        Where to go on: with the same parameters as there, the end is the same to the last bit.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Yields
    ------
    Epoch
        After each epoch. The next one is not begun before it is asked for.

    Raises
    ------
    DivergenceError
        As `train_epoch` does.
    mlp_mx._support.signals.Stopped
        In a command, between two batches, at Ctrl-C, SIGTERM or SIGHUP; its `position` is how far
        it came.
    """
    for epoch in range(start.epoch, epochs):
        begin = time.perf_counter()
        losses = Losses(start if epoch == start.epoch else Position(epoch))
        try:
            loss = train_epoch(params, train_data, learning_rate, epoch, progress, losses, workers)
            test_accuracy = evaluate_accuracy(test_data, params, workers)
            train_accuracy = evaluate_accuracy(train_data, params, workers)
        except signals.Stopped as stop:
            stop.position = losses.position()
            raise
        yield Epoch(epoch, loss, train_accuracy, test_accuracy, time.perf_counter() - begin)

"""The chapter's training: the optimizer, the evaluation metric and the training loop."""

import functools
import time
from typing import NamedTuple

import numpy as np

from .. import Error, InputError, fast, model
from .._support.progress import steps
from ..runtime.lazy import autograd, nd
from .distributed import Workers

__all__ = ["DivergenceError", "Epoch", "SGD", "evaluate_accuracy", "fit", "summed_loss",
           "train_epoch"]

# Batches whose losses are read from the device at once. Reading each would make the Python thread
# wait each time; reading none would let it run ahead of the device, and memory grow with that.
BATCHES_PER_READ = 50
EVALUATION_BATCH = 500  # examples evaluated at once, where they are in memory anyway


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
    """Fraction of the training examples classified correctly after the epoch."""
    test_accuracy: float
    """Fraction of the test examples classified correctly after the epoch."""
    seconds: float
    """Wall time of the epoch, training and evaluation together."""


@fast.elementwise
def SGD(params, lr):
    """Take one step of stochastic gradient descent, in place.

    Parameters
    ----------
    params : list of NDArray
        With gradients attached and computed.
    lr : float
        Learning rate.
    """
    for param in params:
        fast.add_scaled(param, -lr, param.grad)  # param[:] = param - lr * param.grad, in one pass


def evaluate_accuracy(data_iterator, params, net=model.net, workers=None):
    """Compute the fraction of examples that a network classifies correctly.

    Parameters
    ----------
    data_iterator : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``.
    net : callable, default `mlp_mx.model.net`
        ``net(X, params)`` returns logits, X of shape (batch, num_inputs).
    workers : mlp_mx.train.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If there is no example, or the network does not fit its parameters.
    """
    net = model.checked(net, params)
    workers = workers or Workers([params[0].context])
    if hasattr(data_iterator, "in_order"):
        data_iterator = data_iterator.in_order(EVALUATION_BATCH)
    batches = steps(workers.share(data_iterator), show=False)
    counts, denominator = [], 0
    for (X, label), replica in zip(batches, fast.in_turn(net, params, workers.contexts)):
        predictions = nd.argmax(replica(X.reshape((len(X), -1))), axis=1)
        counts.append(nd.sum(predictions == label.as_in_context(replica.ctx)))
        denominator += len(label)
        if len(counts) > 4:  # else the copies of all batches would be made, and held, at once
            counts[-5].wait_to_read()
    numerator = sum(int(count.asscalar()) for count in counts)
    numerator, denominator = workers.total(numerator, denominator)
    if not denominator:
        raise InputError("expected at least one example to evaluate on, found none")
    return numerator / denominator


def summed_loss(X, label, params, net, loss):
    """The losses of a batch's examples, summed: a scalar, whose gradients are thus sums, too."""
    output = net(X, params)
    label_one_hot = nd.one_hot(label, output.shape[1])
    return nd.sum(loss(output, label_one_hot))


def train_epoch(
    params, train_data, learning_rate, epoch=0, net=model.net, loss=model.softmax_cross_entropy,
    update=SGD, progress=False, workers=None,
):
    """Pass over the training data once, with one update for each batch.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``, changed in place.
    train_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    learning_rate : float
    epoch : int, default 0
        Its number; an `mlp_mx.data.loader.ArrayLoader` takes its order from it.
    net : callable, default `mlp_mx.model.net`
        ``net(X, params)`` returns logits, X of shape (batch, num_inputs).
    loss : callable, default `mlp_mx.model.softmax_cross_entropy`
        ``loss(logits, label_one_hot)`` returns a loss for each example; they are summed.
    update : callable, default `SGD`
        ``update(params, lr)`` changes parameters in place, given their gradients.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.train.distributed.Workers, optional
        Those to share each batch with; by default nobody.

    Returns
    -------
    float
        Mean loss of the epoch's examples, in nats.

    Raises
    ------
    DivergenceError
        If the loss of a batch is not finite, or a parameter after the last batch.
    InputError
        If there is no example, or the network does not fit its parameters.
    """
    net = model.checked(net, params)
    workers = workers or Workers([params[0].context])
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    batches = steps(train_data, progress, desc=f"epoch {epoch}", unit="batch")
    cumulative_loss = _CumulativeLoss(epoch)
    batch_loss = functools.partial(summed_loss, net=net, loss=loss)
    with workers.replica(batch_loss, params, update) as replica:
        for X, label in batches:
            with autograd.record():
                output = replica(X.reshape((len(X), -1)), label)
            output.backward()
            replica.sum_gradients()
            update(replica.params, learning_rate)
            cumulative_loss.add(output, len(label))
    mean_loss = cumulative_loss.mean(workers)
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {DIVERGED}")
    return mean_loss


class _CumulativeLoss:
    """Adds up the losses of an epoch's batches, and reads them from the device some at a time."""

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

    def _read(self):
        for loss in nd.concat(*self._unread, dim=0).asnumpy() if self._unread else ():
            if not np.isfinite(loss):
                raise DivergenceError(f"the loss is not finite in epoch {self._epoch}, batch "
                                      f"{self._num_batches}: {DIVERGED}")
            self._sum += float(loss)
            self._num_batches += 1
        self._unread = []

    def mean(self, workers):
        """The mean over all examples, which all workers have seen, each a share."""
        self._read()
        if not self._num_examples:
            raise InputError("expected at least one example to train on, found none")
        return workers.total_loss(self._sum) / self._num_examples


def fit(
    params, train_data, test_data, epochs=10, learning_rate=0.001, net=model.net,
    loss=model.softmax_cross_entropy, update=SGD, start_epoch=0, progress=False, workers=None,
):
    """Train for some epochs, and evaluate after each.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``, changed in place.
    train_data, test_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    epochs : int, default 10
        The number of the epoch to stop before.
    learning_rate : float, default 0.001
        Small, because a batch's loss is summed and not averaged.
    net, loss, update
        As for `train_epoch`.
    start_epoch : int, default 0
        The number of the first epoch: with the parameters of a run after as many epochs, the end is
        the same to the last bit.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.train.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Yields
    ------
    Epoch
        After each epoch. The next one is not begun before it is asked for.

    Raises
    ------
    DivergenceError, InputError
        As `train_epoch` does.
    """
    for epoch in range(start_epoch, epochs):
        begin = time.perf_counter()
        mean_loss = train_epoch(
            params, train_data, learning_rate, epoch, net, loss, update, progress, workers)
        test_accuracy = evaluate_accuracy(test_data, params, net, workers)
        train_accuracy = evaluate_accuracy(train_data, params, net, workers)
        yield Epoch(epoch, mean_loss, train_accuracy, test_accuracy, time.perf_counter() - begin)

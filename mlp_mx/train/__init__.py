"""The chapter's training: the optimizer, the evaluation metric and the training loop."""

import functools
import time
import warnings
from typing import NamedTuple

from .. import InputError, fast, model
from .._support.networks import check_any, checked, checked_batch, computed
from .._support.progress import steps
from ..runtime.lazy import autograd, nd
from .distributed import Workers
from .losses import CumulativeLoss, DivergenceError, check_changed, check_finite

__all__ = ["DivergenceError", "Epoch", "SGD", "evaluate_accuracy", "fit", "summed_loss",
           "train_epoch"]

EVALUATION_BATCH = 500  # examples evaluated at once, where they are in memory anyway


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
    params, net, workers
        As for `fit`.

    Returns
    -------
    float
        In [0, 1].
    """
    net = checked(net, params)
    workers = workers or Workers([params[0].context])
    if hasattr(data_iterator, "in_order"):
        data_iterator = data_iterator.in_order(EVALUATION_BATCH)
    batches = steps(workers.share(data_iterator), show=False)
    correct, denominator = [], 0
    for batch, replica in zip(batches, fast.in_turn(net, params, workers.contexts)):
        X, label = checked_batch(batch)
        output = replica(X)
        predictions = nd.argmax(output, axis=1)
        correct.append(nd.sum(predictions == label.as_in_context(replica.ctx)))
        denominator += len(label)
        if len(correct) > 4:  # else the copies of all batches would be made, and held, at once
            correct[-5].wait_to_read()
    numerator = sum(int(count.asscalar()) for count in correct)
    numerator, denominator = workers.total(numerator, denominator)
    check_any(denominator, "evaluate")
    return numerator / denominator


def summed_loss(X, label, params, net, loss):
    """The losses of a batch's examples, summed: shape (1,). So its gradients are sums, too."""
    output = computed(net, X, params)
    label_one_hot = nd.one_hot(label, output.shape[1])
    losses = loss(output, label_one_hot)
    if not isinstance(losses, nd.NDArray):
        raise InputError(f"expected an NDArray from the loss, found {type(losses).__name__}")
    if losses.size < len(X):
        found = "one number" if losses.size == 1 else f"{losses.size} numbers"
        warnings.warn(f"the loss of {len(X)} examples is {found}: if that is their mean, steps are "
                      f"{len(X)} times smaller than with a loss for each example")
    return nd.sum(losses)


def train_epoch(
    params, train_data, learning_rate, epoch=0, net=model.net, loss=model.softmax_cross_entropy,
    update=SGD, progress=False, workers=None,
):
    """Pass over the training data once, with one update for each batch.

    Parameters
    ----------
    epoch : int, default 0
        Its number; an `mlp_mx.data.loader.ArrayLoader` takes its order from it.
    params, train_data, learning_rate, net, loss, update, progress, workers
        As for `fit`.

    Returns
    -------
    float
        Mean loss per example during the epoch, in nats.
    """
    net = checked(net, params)
    if not callable(loss):
        raise InputError(f"expected a function loss(yhat_linear, y), found {type(loss).__name__}")
    workers = workers or Workers([params[0].context])
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    cumulative_loss = CumulativeLoss(epoch, net)
    batch_loss = functools.partial(summed_loss, net=net, loss=loss)
    before = [param.copy() for param in params]
    with workers.replica(batch_loss, params, update) as replica:  # batch_loss, executed fast
        for batch in steps(train_data, progress, desc=f"epoch {epoch}", unit="batch"):
            X, label = checked_batch(batch)
            with autograd.record():
                output = replica(X, label)
            output.backward()
            replica.sum_gradients()
            update(replica.params, learning_rate)
            cumulative_loss.add(output, label)
    mean_loss = cumulative_loss.mean(workers)
    check_finite(params, epoch)
    if learning_rate:
        check_changed(before, params, epoch, net)
    return mean_loss


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
        In total, those before `start_epoch` included.
    learning_rate : float, default 0.001
        Small, because a batch's losses are summed and not averaged.
    net : callable, default `mlp_mx.model.net`
        ``net(X, params)`` returns logits; X is float32, shape (batch, num_inputs). The chapter's
        ``net(X)``, with `params` among its globals, works, too.
    loss : callable, default `mlp_mx.model.softmax_cross_entropy`
        ``loss(yhat_linear, y)`` returns a loss for each example, not their mean; y is one-hot.
    update : callable, default `SGD`
        ``update(params, lr)`` changes parameters in place, as in ``param[:] = …``, given their
        gradients.
    start_epoch : int, default 0
        Epochs already done. From the parameters after them, training ends bit for bit as if it had
        not been interrupted.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.train.distributed.Workers, optional
        Those to share the work with; by default none.

    Yields
    ------
    Epoch
        After each epoch. The next epoch starts when the next record is requested. If it is
        interrupted, the parameters are those after its last batch.

    Raises
    ------
    DivergenceError
        If the loss of a batch is not finite, or a parameter after an epoch.
    InputError
        If there is no example, or if batches, parameters, network and loss do not fit together.

    Warns
    -----
    UserWarning
        If no parameter changes in an epoch, if the loss may be a mean, or if functions have to run
        as they are written, which is slower (see `mlp_mx.fast`).
    """
    for epoch in range(start_epoch, epochs):
        begin = time.perf_counter()
        mean_loss = train_epoch(
            params, train_data, learning_rate, epoch, net, loss, update, progress, workers)
        test_accuracy = evaluate_accuracy(test_data, params, net, workers)
        train_accuracy = evaluate_accuracy(train_data, params, net, workers)
        yield Epoch(epoch, mean_loss, train_accuracy, test_accuracy, time.perf_counter() - begin)

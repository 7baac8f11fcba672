"""Checks before and after an epoch: a hint for each common mistake."""

import inspect
import math

import numpy as np

from .. import fast
from .._support.errors import Error, InputError
from .._support.functions import name_of, parts_of, warn_of
from ..runtime.lazy import autograd, nd
from .batches import num_outputs_of

__all__ = ["DivergenceError", "First", "Watched"]

ENOUGH_BATCHES = 900  # for a loss to have fallen, as in an epoch of MNIST
ADVICE = "training diverged; try a smaller learning rate, batch size or weight scale"
FIRST_ADVICE = ("it was not finite before the first update; check the network, the loss, and "
                "the data")


class DivergenceError(Error, ArithmeticError):
    """The loss, or a parameter, is no longer a finite number."""


class First:
    """What the very first batch shows: a hint for each mistake.

    Attributes
    ----------
    num_outputs : int
    loss, loss_now : float
        Mean loss of the batch in nats, before the first update and after some epochs.
    """

    def __init__(self, batch, train_data, params, net, loss):
        self._batch, self.net, self._loss, self.num_outputs = batch, net, loss, None
        output, losses = self._computed(params, *batch)
        _, label = batch
        _check_losses(losses, len(label), loss)
        self.loss, self.loss_now, self._num_batches = _mean(losses, len(label)), None, 0
        if not math.isfinite(self.loss):
            raise DivergenceError(f"the loss is not finite in epoch 0: {FIRST_ADVICE}")
        _hint_of_arguments(net)
        _hint_of_gradients(getattr(params, "originals", params), net)
        _hint_of_classes(self.num_outputs, train_data, net)
        with autograd.pause(train_mode=True):
            _hint_of_loss(output.detach(), label, parts_of(loss), net)

    def _computed(self, params, X, label):
        with autograd.record():
            output = self.net(X.copy().reshape((len(X), -1)), params)  # which may change its batch
            self.num_outputs = self.num_outputs or num_outputs_of(output, label, self.net)
            return output, self._loss(output, nd.one_hot(label, self.num_outputs))

    def compare_late(self, params, late, epoch):
        """Compute a late batch both by graphs and as written: a graph may have become outdated."""
        number, *batch = late
        with fast.checking(f"batch {number} of epoch {epoch}"):
            self._computed(params, *batch)

    def look_again(self, params, num_batches):
        """Compute the loss of the batch again, once, after the epoch with the 900th batch.

        It counts only if most of the batch is misclassified: what was learned before, in a run that
        is resumed, may not get better still.
        """
        self._num_batches += num_batches
        if self.loss_now is None and self._num_batches >= ENOUGH_BATCHES:
            output, losses = self._computed(params, *self._batch)
            _, label = self._batch
            right = nd.mean(nd.argmax(output, axis=1) == label).asscalar()
            self.loss_now = math.nan if right > 0.5 else _mean(losses, len(label))

    def fell(self):
        """Whether the loss has fallen, as far as is known; call this only once."""
        if self.loss_now is None:
            return True
        loss_now, self.loss_now = self.loss_now, math.nan
        return not loss_now >= self.loss


def _mean(losses, num_examples):
    return float(nd.sum(losses).asscalar()) / num_examples


def _check_losses(losses, num_examples, loss):
    if not isinstance(losses, nd.NDArray):
        raise InputError(f"expected an NDArray from the loss, found {type(losses).__name__}")
    if 1 != losses.size < num_examples:
        raise InputError(f"expected a loss for each of {num_examples} examples from "
                         f"{name_of(loss)}, found shape {losses.shape}")


def _hint_of_arguments(net):
    """Switches that are never turned on, as in ``net(X, drop_prob=0.0)``."""
    try:
        parameters = inspect.signature(parts_of(net)).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        if not parameter.default and ("drop" in parameter.name or "train" in parameter.name):
            warn_of(net, f"{parameter.name} of {name_of(net)} stays {parameter.default} in "
                    "training, too; check autograd.is_training() in the function instead")


def _hint_of_gradients(params, net):
    fixed = [number for number, param in enumerate(params) if param.grad is None]
    if fixed:
        warn_of(net, f"params[{fixed[0]}] has no gradient and will not be trained; to train it, "
                f"call params[{fixed[0]}].attach_grad()")


def _hint_of_classes(num_outputs, train_data, net):
    num_classes = getattr(train_data, "num_outputs", None)
    if num_classes is not None and num_outputs > 2 * num_classes:
        warn_of(net, f"{name_of(net)} returns {num_outputs} logits for each image, but there are "
                f"{num_classes} classes; check the shape of the last layer")


def _hint_of_loss(output, label, loss, net):
    """A loss that is a mean, that takes other arguments, or that applies softmax a second time."""
    y = nd.one_hot(label, output.shape[1])

    def total(output, y):
        return float(nd.sum(loss(output, y)).asscalar())

    losses = loss(output, y)
    if losses.size == 1 < len(y):
        twice = total(nd.concat(output, output, dim=0), nd.concat(y, y, dim=0))
        if twice < 1.5 * total(output, y):
            warn_of(loss, f"{name_of(loss)} returns one number per batch, the mean; return one "
                    f"per image, or multiply the learning rate by {len(y)}")
    rows = output.asnumpy().astype(float)
    with np.errstate(over="ignore"):
        are_logs = np.allclose(np.exp(rows).sum(axis=1), 1, atol=1e-3)
    if np.allclose(rows.sum(axis=1), 1, atol=1e-3) and rows.min() >= 0:
        if np.isclose(total(output + 1, y), total(output, y), rtol=1e-4):  # as softmax makes it
            warn_of(net, f"{name_of(net)} returns probabilities, but {name_of(loss)} applies "
                    "softmax itself; return logits, without softmax")
    elif not are_logs and min(total(0 * output + 100, y), total(0 * output - 100, y)) < -1:
        warn_of(loss, f"{name_of(loss)} can be negative, so it has no minimum; it is called as "
                "loss(yhat_linear, y): check the order of its arguments")


class Watched:
    """The parameters before an epoch, to be compared with those after it.

    Parameters
    ----------
    params : list of NDArray
    epoch : int
    """

    def __init__(self, params, epoch):
        self._before, self._epoch = [param.copy() for param in params], epoch

    def check(self, params, mean_loss, learning_rate, first):
        """Raise a `DivergenceError`, or warn, if the epoch went wrong."""
        if not math.isfinite(mean_loss):
            raise DivergenceError(f"the loss is not finite in epoch {self._epoch}: {ADVICE}")
        after = [param.asnumpy() for param in params]
        if not all(np.isfinite(param).all() for param in after):
            raise DivergenceError(f"a parameter is not finite after epoch {self._epoch}: {ADVICE}")
        net = first.net
        if learning_rate and all(
                np.array_equal(old.asnumpy(), new) for old, new in zip(self._before, after)):
            warn_of(net, f"no parameter changed in epoch {self._epoch}; check that the network "
                    "uses the arrays in params, that the update changes them in place, as in "
                    "param[:] = …, and that the learning rate is large enough")
        elif mean_loss > 10 * max(first.loss, 1):
            warn_of(net, f"the loss rose from {first.loss:.3g} to {mean_loss:.3g} in epoch "
                    f"{self._epoch}; the learning rate is too large, try a tenth of it")
        elif not first.fell():
            warn_of(net, "the loss of the first batch did not fall in the epochs up to "
                    f"{self._epoch}; try another learning rate, and check that labels belong to "
                    "their images")

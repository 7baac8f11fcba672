"""Generators that wrap the batches that go into a loop, one for each concern."""

import itertools

import numpy as np

from .._support.errors import InputError
from .._support.progress import steps
from ..runtime.lazy import mx, nd

__all__ = ["for_evaluation", "for_training", "num_outputs_of", "with_labels_in_range"]

EVALUATION_BATCH = 500  # examples evaluated at once, where they are in memory anyway
OF_ARRAYS = "; for arrays of your own, use data.ArrayLoader(X, label)"
BATCHES_PER_READ = 50  # whose labels are looked at together, since Python waits for them


def for_training(train_data, params, epoch, progress=False):
    """The batches of an epoch, `Seen`: float32, on the parameters' device.

    Raises
    ------
    InputError
        While they are iterated over, if they are not batches, or if there are none.
    """
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    shown = steps(train_data, progress, desc=f"epoch {epoch}", unit="batch")
    return Seen(_prepared(shown, train_data, params[0].context), "train")


def for_evaluation(data_iterator, params, net):
    """The batches to evaluate on; on a CPU, on two of its queues in turn.

    MXNet computes on two CPU contexts at the same time.
    """
    source, ctx = data_iterator, params.originals[0].context
    if hasattr(source, "in_order"):
        data_iterator = source.in_order(EVALUATION_BATCH)
    seen = Seen(_prepared(steps(data_iterator, show=False), source, ctx), "evaluate")
    X, label = seen.first
    output = net(X.copy().reshape((len(X), -1)), params)  # a copy, since it may be changed
    num_outputs = num_outputs_of(output, label, net)
    queues = [mx.cpu(0), mx.cpu(1)] if params.layout and ctx.device_type == "cpu" else [ctx]
    for (X, label), queue in zip(with_labels_in_range(seen, num_outputs), itertools.cycle(queues)):
        if getattr(net, "runs_as_written", bool)() or not params.layout:
            yield X.copy(), label  # a network may change its batch, which is a part of all data
        else:
            yield X.as_in_context(queue), label.as_in_context(queue)


class Seen:
    """Batches that remember the first of them, a late one, and their number.

    Attributes
    ----------
    first : tuple
        The first batch, which is still to come.
    late : tuple
        The last batch so far that has the size of the first, after its number.
    num_batches, num_examples : int
        So far.
    """

    def __init__(self, batches, purpose):
        self._batches = iter(batches)
        self.first, self.late = next(self._batches, None), None
        self.num_batches = self.num_examples = 0
        if self.first is None:
            raise InputError(f"expected at least one example to {purpose} on, found none; a "
                             "generator can be used only once: pass a list of batches instead")

    def __iter__(self):
        size = len(self.first[1])
        for X, label in itertools.chain([self.first], self._batches):
            num_examples = len(label)
            if num_examples == size:
                self.late = self.num_batches, X, label
            self.num_batches += 1
            self.num_examples += num_examples
            yield X, label


def _prepared(batches, source, ctx):
    """Batches as float32 NDArrays on a device, checked unless their source makes no others."""
    if hasattr(source, "is_ready_on") and source.is_ready_on(ctx):
        return batches
    return _on_device(map(_checked, batches), ctx)


def _checked(batch):
    """Return a batch as two NDArrays; raise an `InputError` if it is something else."""
    if _is_pair(batch):
        X, label = (array if type(array) is nd.NDArray else array.as_nd_ndarray()
                    for array in batch)
        if label.shape == X.shape[:1] != (0,):
            return X, label
    raise InputError("expected batches (data, label), NDArrays of shapes (n, …) and (n,) with n at "
                     f"least 1, found {_found(batch)}")


def _is_pair(batch):
    """Whether a batch is two NDArrays."""
    return (isinstance(batch, (list, tuple)) and len(batch) == 2
            and isinstance(batch[0], nd.NDArray) and isinstance(batch[1], nd.NDArray))


def _found(batch):
    """What a batch is that is no pair of NDArrays that fit, and what to do."""
    if _is_pair(batch):
        X, label = (array.shape for array in batch)
        cure = ""
        if len(label) == 2 and label[0] == X[0]:
            cure = ("; pass class numbers, label[:, 0]" if label[1] == 1 else
                    "; if the labels are one-hot, pass class numbers, label.argmax(axis=1)")
        return f"shapes {X} and {label}{cure}"
    found = type(batch).__name__
    if isinstance(batch, (list, tuple)):
        found = f"({', '.join(type(one).__name__ for one in batch)})"
        is_of_arrays = len(batch) == 2 and all(hasattr(array, "shape") for array in batch)
    else:
        is_of_arrays = hasattr(batch, "shape")  # a row of an array, instead of a batch
    return found + (OF_ARRAYS if is_of_arrays else "")


def _on_device(batches, ctx):
    """Batches as float32, on a device."""
    for X, label in batches:
        yield (X.as_in_context(ctx).astype(np.float32, copy=False),
               label.as_in_context(ctx).astype(np.float32, copy=False))


def with_labels_in_range(batches, num_outputs):
    """Yield the same batches; raise an `InputError` unless labels are from 0 to num_outputs - 1.

    The labels of several batches are checked together, so the error comes some batches later.
    """
    labels = []
    for X, label in batches:
        labels.append(label)
        yield X, label
        if len(labels) == BATCHES_PER_READ:
            _check_labels(labels, num_outputs)
            labels = []
    if labels:
        _check_labels(labels, num_outputs)


def _check_labels(labels, num_outputs):
    values = nd.concat(*labels, dim=0).asnumpy()
    wrong = values[~((values >= 0) & (values < num_outputs) & (values == np.floor(values)))]
    if wrong.size:  # `one_hot` would make it a row of zeros, and its loss 0
        raise InputError(f"expected labels from 0 to {num_outputs - 1}, one for each of the "
                         f"network's outputs, found {wrong[0]:g}")


def num_outputs_of(output, label, net):
    """Return the number of a network's logits; raise an `InputError` if it returned no logits."""
    shape = getattr(output, "shape", ())
    if not isinstance(output, nd.NDArray) or len(shape) != 2 or shape[0] != len(label):
        raise InputError(f"expected logits, an NDArray of shape ({len(label)}, num_outputs), from "
                         f"{net.__name__}, found {shape or type(output).__name__}")
    _check_labels([label], shape[1])
    return shape[1]

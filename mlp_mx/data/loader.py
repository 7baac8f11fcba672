"""A gluon DataLoader over arrays in memory, which takes a whole batch at a time."""

import numpy as np

from ..runtime import gluon, nd

__all__ = ["ArrayLoader"]


class ArrayLoader(gluon.data.DataLoader):
    """A gluon DataLoader over arrays in memory, which takes each batch in one operation.

    The chapter's loader transforms and stacks one image at a time, which takes longer than
    training does. The batches, ``(data, label)``, are the same; the last one may be smaller.

    Parameters
    ----------
    name : str
        The data set's name, to be printed with results.
    data : NDArray, float32, shape (num_examples, …)
    label : NDArray, float32, shape (num_examples,)
    batch_size : int
        1 or more.
    seed : int, optional
        Shuffle, in an order that depends only on this seed and on the epoch (see `set_epoch`). By
        default, examples are not shuffled.

    Attributes
    ----------
    name, data, label
        As above.
    num_examples : int
    """

    def __init__(self, name, data, label, batch_size, seed=None):
        super().__init__(gluon.data.ArrayDataset(data, label), batch_size)
        self.name, self.data, self.label, self.num_examples = name, data, label, len(label)
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0

    def set_epoch(self, epoch):
        """Set the epoch's number, which the order of the examples depends on."""
        self._epoch = epoch

    def __iter__(self):
        order = np.arange(self.num_examples)
        if self._seed is not None:
            # RandomState, because NumPy promises that its stream never changes.
            np.random.RandomState([self._seed, self._epoch]).shuffle(order)
        # One copy to the device, then slices: a copy per batch would cost a fifth of an epoch.
        order = nd.array(order, self.data.context, dtype=np.int32)
        for start in range(0, self.num_examples, self._batch_size):
            indices = order[start:start + self._batch_size]
            yield nd.take(self.data, indices), nd.take(self.label, indices)

    def in_order(self, batch_size):
        """Yield ``(data, label)`` without shuffling and without copying."""
        for start in range(0, self.num_examples, batch_size):
            yield self.data[start:start + batch_size], self.label[start:start + batch_size]

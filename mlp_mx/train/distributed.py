"""One training run in several processes, with MXNet's kvstore: a job of `mlp_mx.launch`.

Each worker computes the gradients of its part of every batch, on one device. The kvstore sums them,
and all workers take the same step, so their parameters stay equal. What a worker needs is wrapped
around what goes into `mlp_mx.train.fit`: its part of the data, and an update that sums first.
"""

import contextlib
import os
import zlib

from .. import fast, runtime
from .._support.errors import InputError
from ..runtime.lazy import mx, nd

__all__ = ["Part", "Workers", "context", "join"]


def context(name="auto"):
    """This worker's device: as `mlp_mx.runtime.context`, but in a job "gpu" is a card of its own.

    That is the worker's number modulo the number of GPUs of its machine.
    """
    ctx = runtime.context(name)
    if ctx.device_type == "gpu" and name in ("auto", "gpu") and _is_in_job():
        number = int(os.environ.get("MLP_MX_RANK", 0)) % mx.context.num_gpus()
        return runtime.context(f"gpu:{number}")
    return ctx


def join(ctx):
    """The `Workers` of the job that `mlp_mx.launch` has started, or just this process."""
    return Workers(ctx, mx.kv.create("dist_sync") if _is_in_job() else None)


def _is_in_job():
    return os.environ.get("DMLC_ROLE") == "worker"


class Workers(contextlib.AbstractContextManager):
    """The workers of a job, seen from one: number `rank` of `num_workers`.

    As a context manager, it lets a worker that fails exit without waiting for the others.

    Parameters
    ----------
    ctx : mxnet.Context
        This worker's device.
    kvstore : mxnet.kvstore.KVStore, optional
        Without one, this process is the only worker, and nothing is shared.
    """

    def __init__(self, ctx, kvstore=None):
        self.rank, self.num_workers = 0, 1
        self._ctx, self._kvstore, self._keys = ctx, kvstore, set()
        if kvstore:
            # The kvstore numbers workers as they come, `mlp_mx.launch` by their places.
            self.rank = int(os.environ.get("MLP_MX_RANK", kvstore.rank))
            self.num_workers = kvstore.num_workers

    def __exit__(self, error_type, *_):
        if error_type is not None and self._kvstore:  # MXNet's Python has no function for it
            mx.base.check_call(
                mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self._kvstore.handle, 0))

    def synchronised(self, update):
        """An update that sums the gradients of all workers first."""
        if not self._kvstore:
            return update

        def synchronised_update(params, lr):
            for number, param in enumerate(params):
                self._sum(f"gradient {number}", param.grad)
            update(params, lr)

        return fast.elementwise(synchronised_update) if fast.is_elementwise(update) \
            else synchronised_update

    def part(self, loader):
        """Return this worker's part of an `mlp_mx.data.ArrayLoader`."""
        return Part(loader, self) if self._kvstore else loader

    def combined(self, epochs, train_part, test_part):
        """The records of all workers' parts together, from those of `fit` on this worker's.

        Parameters
        ----------
        epochs : iterable of mlp_mx.train.Epoch
        train_part, test_part : Part
            The data that `fit` has got.
        """
        for epoch in epochs:
            if self._kvstore:
                sizes = train_part.num_trained, train_part.num_examples, test_part.num_examples
                losses, *correct = self.total(
                    epoch.loss * sizes[0], round(epoch.train_accuracy * sizes[1]),
                    round(epoch.test_accuracy * sizes[2]))
                num_trained, num_train, num_test = self.total(*sizes)
                epoch = epoch._replace(
                    loss=losses / num_trained, train_accuracy=correct[0] / num_train,
                    test_accuracy=correct[1] / num_test)
            yield epoch

    def check_consistent(self, start, params):
        """Raise an `InputError` unless ``repr(start)`` and the parameters are alike everywhere."""
        digest = zlib.crc32(repr(start).encode())
        for param in params:
            digest = zlib.crc32(param.asnumpy().tobytes(), digest)
        digest %= 2**24 // self.num_workers  # so that the total is exact
        if self.total(digest) != [self.num_workers * digest]:
            raise InputError("the workers disagree on settings or parameters: give all of them the "
                             "same options, data set and saved model")

    def total(self, *numbers):
        """Sum numbers over the workers: a list. Whole ones are exact up to 2**24, as in float32."""
        if not self._kvstore:
            return list(numbers)
        array = nd.array(numbers, self._ctx)
        self._sum(f"{len(numbers)} totals", array)
        return array.asnumpy().tolist()

    def _sum(self, key, array):
        """Sum a float32 NDArray over the workers, in place."""
        if key not in self._keys:
            self._keys.add(key)
            self._kvstore.init(key, array)
        # Into the same array, since a pull into another can overtake the push.
        self._kvstore.push(key, array)
        self._kvstore.pull(key, out=array)


class Part:
    """A worker's part of the batches of an `mlp_mx.data.ArrayLoader`, and of its examples.

    Attributes
    ----------
    num_outputs : int
        As the loader's.
    num_examples : int
        To evaluate: the worker's part of all examples, in order.
    num_trained : int
        In its parts of an epoch's batches.

    Raises
    ------
    InputError
        If a batch has fewer examples than there are workers.
    """

    def __init__(self, loader, workers):
        self._loader, self._workers = loader, workers
        self.num_outputs = getattr(loader, "num_outputs", None)
        sizes = [len(label) for _, label in loader.in_order(loader.batch_size)]
        if min(sizes) < workers.num_workers:
            raise InputError(f"expected an example for each of {workers.num_workers} workers in "
                             f"every batch, found a batch of {min(sizes)}; use another batch size")
        self.num_trained = sum(end - start for start, end in map(self._bounds, sizes))
        start, end = self._bounds(loader.num_examples)
        self._in_order = loader.data[start:end], loader.label[start:end]
        self.num_examples = end - start

    def _bounds(self, size):
        """Return where this worker's part of that many examples starts and ends."""
        rank, num_workers = self._workers.rank, self._workers.num_workers
        return size * rank // num_workers, size * (rank + 1) // num_workers

    def set_epoch(self, epoch):
        """Set the epoch's number, which the order of the examples depends on."""
        self._loader.set_epoch(epoch)

    def __len__(self):
        return len(self._loader)

    def __iter__(self):
        for X, label in self._loader:
            start, end = self._bounds(len(label))
            yield X[start:end], label[start:end]

    def in_order(self, batch_size):
        """Yield ``(data, label)`` without shuffling and without copying."""
        X, label = self._in_order
        for start in range(0, len(label), batch_size):
            yield X[start:start + batch_size], label[start:start + batch_size]

"""One training run on several devices, of one machine or of many, with MXNet's kvstore.

Each batch is cut into a part for each device. Each computes its part's gradients on its own copy of
the parameters, gets the sum over all devices from the kvstore, and takes the same step; so the
copies stay alike.
"""

import contextlib
import itertools
import os
import zlib

from .. import InputError, fast
from ..runtime.lazy import mx, nd


def join(contexts):
    """The `Workers` of the job that `mlp_mx.launch` has started, or just this process."""
    if os.environ.get("DMLC_ROLE") == "worker":
        return Workers(contexts, "dist_sync")
    return Workers(contexts, "device" if len(contexts) > 1 else None)


class Workers(contextlib.AbstractContextManager):
    """The workers of a job, seen from one: number `rank` of `num_workers`, on some `contexts`.

    All workers have the same number of contexts. As a context manager, it lets a worker that fails
    end without the others, which would wait for it.
    """

    def __init__(self, contexts, kvstore=None):
        self.contexts, self.rank, self.num_workers = list(contexts), 0, 1
        self._kvstore, self._keys = mx.kv.create(kvstore) if kvstore else None, set()
        if kvstore:
            # The kvstore numbers workers as they come, `mlp_mx.launch` by their places.
            self.rank = int(os.environ.get("MLP_MX_RANK", self._kvstore.rank))
            self.num_workers = self._kvstore.num_workers

    def __exit__(self, error_type, *_):
        if error_type is not None and self._kvstore:  # MXNet's Python has no function for it
            mx.base.check_call(
                mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self._kvstore.handle, 0))

    def replica(self, function, params, update):
        """A `fast.Replica`, or several that look like one, to train on this worker's devices."""
        if not self._kvstore:
            return fast.Replica(function, params, self.contexts[0], update)
        if len(self.contexts) > 1 and not fast.is_elementwise(update):
            raise InputError("several devices need an elementwise update; mark yours with "
                             "fast.elementwise if it is one, or train on one device")
        return _Replicas(function, params, update, self)

    def share(self, batches):
        """This worker's share of some batches."""
        return itertools.islice(batches, self.rank, None, self.num_workers)

    def check_consistent(self, start, params):
        """Raise an `InputError` unless ``repr(start)`` and the parameters are alike everywhere."""
        digest = zlib.crc32(repr((start, len(self.contexts))).encode())
        for param in params:
            digest = zlib.crc32(param.asnumpy().tobytes(), digest)
        digest %= 2**24 // self.num_workers  # so that the total is exact
        if self.total(digest) != [self.num_workers * digest]:
            raise InputError("the workers start differently; give all of them the same options, "
                             "number of devices, data set and saved model")

    def total(self, *numbers):
        """Sum numbers over the workers: a list. Whole ones are exact up to 2**24, as in float32."""
        if not self._kvstore:
            return list(numbers)
        arrays = [nd.array(numbers, ctx) for ctx in self.contexts]
        for other in arrays[1:]:
            other[:] = 0
        self.sum("totals", arrays)
        return arrays[0].asnumpy().tolist()

    def sum(self, name, arrays):
        """Sum float32 NDArrays of one shape, one on each of the `contexts`, in place."""
        key = f"{name}, {arrays[0].size}"
        if key not in self._keys:
            self._keys.add(key)
            self._kvstore.init(key, arrays[0])
        # Into the same arrays, since a pull into others can overtake the push.
        self._kvstore.push(key, arrays)
        self._kvstore.pull(key, out=arrays)


class _InTurn(list):
    """Arrays of several devices, each of which is waited for before the next is handed out.

    With OpenMP threads, the OpenBLAS in MXNet's wheel hangs if two devices call it at once.
    """

    def __iter__(self):
        for array in super().__iter__():
            yield array
            array.wait_to_read()


class _Replicas(contextlib.AbstractContextManager):
    """A `fast.Replica` on each of a worker's devices, which looks like one."""

    def __init__(self, function, params, update, workers):
        self._workers, self._originals = workers, params
        self._replicas = [fast.Replica(function, params, ctx, update) for ctx in workers.contexts]

    @property
    def params(self):
        """For the update: the arrays of all devices."""
        return _InTurn(array for replica in self._replicas for array in replica.params)

    def __call__(self, *batch):
        """The function's result for this worker's parts of a batch, summed."""
        devices, size = len(self._replicas), len(batch[0])
        first, total = self._workers.rank * devices, self._workers.num_workers * devices
        results = []
        for part, replica in enumerate(self._replicas, first):
            start, end = size * part // total, size * (part + 1) // total
            # An empty part has no gradients; those of one example, times 0, are zeros.
            results.append(replica(*(array[start:end] for array in batch)) if start < end
                           else 0 * replica(*(array[:1] for array in batch)))
        return nd.add_n(*(result.as_in_context(results[0].context) for result in results))

    def sum_gradients(self):
        """Sum the gradients over all devices of all workers."""
        for place, arrays in enumerate(zip(*(replica.params for replica in self._replicas))):
            self._workers.sum(place, [array.grad for array in arrays])

    def __exit__(self, *_):
        self._replicas[0].copy_to(self._originals)

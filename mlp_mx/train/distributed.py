"""One training on several devices, of one machine or of many, by MXNet's own kvstore.

Each batch is cut into as many parts as there are devices in all. Each device computes the gradient
of its part on its own copy of the parameters; the kvstore sums these, and hands the sum to all; so
every copy takes the same step of SGD, and they stay alike.
"""

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
import zlib

import numpy as np

from .. import InputError, fast
from ..runtime.lazy import autograd, mx, nd

__all__ = ["Workers", "bounds", "join"]

GRACE = 5  # seconds from a signal to the end of a worker


def join(contexts):
    """Become one of the workers of a job, if it has more than one device.

    Parameters
    ----------
    contexts : list of mxnet.Context
        This process's devices.

    Returns
    -------
    Workers or None
        None where one device trains alone: where `mlp_mx.launch` has not started this process.
    """
    if os.environ.get("DMLC_ROLE") == "worker":
        _end_soon_after_a_signal()
        return Workers("dist_sync", contexts)
    return Workers("device", contexts) if len(contexts) > 1 else None


def bounds(num_examples, num_parts):
    """Where the parts of a batch begin, and where the last one ends.

    Returns
    -------
    list of int
        One more than there are parts. These differ by one example at most, and are empty where
        there are not enough.
    """
    return [num_examples * part // num_parts for part in range(num_parts + 1)]


def _end_soon_after_a_signal():
    """At Ctrl-C or SIGTERM, end this process after `GRACE` seconds, whatever it is doing.

    Python cannot handle a signal while it waits in MXNet for workers or servers that have died.
    """
    told, telling = socket.socketpair()
    telling.setblocking(False)
    signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)

    def wait():
        number = 0
        while number not in (signal.SIGINT, signal.SIGTERM):
            number = told.recv(1)[0]
        time.sleep(GRACE)
        os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


class Workers:
    """The workers of a job, seen from one of them.

    Use it as a context manager: a worker that ends with an error then does not wait for the others,
    which would wait for it.

    Parameters
    ----------
    kvstore : {"device", "dist_sync"}
    contexts : list of mxnet.Context
        This worker's devices. All workers need as many.

    Attributes
    ----------
    rank : int
        This worker's number. Worker 0 is the one to print and to save.
    num_workers : int
    contexts : list of mxnet.Context
    """

    def __init__(self, kvstore, contexts):
        self._kvstore = mx.kv.create(kvstore)
        self._keys = {}  # of arrays in the kvstore, by their size
        # The kvstore numbers workers as they come; on one machine, `mlp_mx.launch` does.
        self.rank = int(os.environ.get("MLP_MX_RANK", self._kvstore.rank))
        self.num_workers = self._kvstore.num_workers
        self.contexts = list(contexts)

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        if error_type is not None:  # MXNet's Python has no function for it
            mx.base.check_call(
                mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self._kvstore.handle, 0)
            )

    @contextlib.contextmanager
    def training(self, params):
        """Lend out `Replicas` to train; whatever ends the training, `params` get its result."""
        replicas = Replicas(params, self)
        try:
            yield replicas
        finally:
            replicas.networks[0].give_back(params)

    def count_correct(self, batches, params):
        """As `fast.count_correct`: each worker counts in its share of the batches."""
        share = itertools.islice(batches, self.rank, None, self.num_workers)
        contexts = self.contexts if len(self.contexts) > 1 else None
        return tuple(self.total(*fast.count_correct(share, params, contexts)))

    def bounds(self, num_examples):
        """As the function `bounds`, of the parts of a batch that this worker's devices have."""
        devices = len(self.contexts)
        first, parts = self.rank * devices, self.num_workers * devices
        return bounds(num_examples, parts)[first:first + devices + 1]

    def check_alike(self, start, params):
        """Raise an `InputError` unless all workers start with the same.

        Parameters
        ----------
        start : object
            All that must be the same, besides the parameters; its ``repr`` is compared.
        params : list of NDArray
        """
        digest = zlib.crc32(repr((start, len(self.contexts))).encode())
        for param in params:
            digest = zlib.crc32(param.asnumpy().tobytes(), digest)
        if self.total(digest) != [self.num_workers * digest]:
            raise InputError("the workers do not start alike; give them the same options, number "
                             "of devices, data set and saved model")

    def total(self, *counts):
        """Sum whole numbers over the workers.

        Parameters
        ----------
        *counts : int
            From 0 to 2**36 - 1.

        Returns
        -------
        list of int
        """
        # The kvstore adds float32 numbers, which are exact up to 2**24.
        digits = np.array([(count >> 24, count >> 12 & 0xfff, count & 0xfff) for count in counts])
        array = nd.array(digits, self.contexts[0])
        self.sum([array, *(nd.zeros_like(array, ctx=ctx) for ctx in self.contexts[1:])])
        return [(int(a) << 24) + (int(b) << 12) + int(c) for a, b, c in array.asnumpy()]

    def sum(self, arrays):
        """Sum arrays, in place: float32 NDArrays of one shape, one on each of the `contexts`."""
        size = arrays[0].size
        if size not in self._keys:
            self._keys[size] = len(self._keys)  # small, since ps-lite multiplies it as an int
            self._kvstore.init(self._keys[size], arrays[0])
        key = self._keys[size]
        # Into the same arrays, since a pull into others can overtake the push.
        self._kvstore.push(key, arrays)
        self._kvstore.pull(key, out=arrays)


class Replicas:
    """A `fast.Network` on each of a worker's devices.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``.
    workers : Workers

    Attributes
    ----------
    params : list of NDArray, float32, shape (number of all parameters,)
        One for each device; for `train.SGD`.
    networks : list of fast.Network
    """

    def __init__(self, params, workers):
        self._workers = workers
        size = sum(param.size for param in params)
        # The last number is for the loss, which so is summed on the gradients' way.
        self._sums = [nd.zeros(size + 1, ctx) for ctx in workers.contexts]
        self.networks = [
            fast.Network(params, ctx, sums[:size]) for ctx, sums in zip(workers.contexts, self._sums)
        ]
        self.params = [network.params[0] for network in self.networks]

    def loss(self, X, label):
        """The loss of this worker's parts of a batch, as `fast.Network.loss` has it."""
        ends = self._workers.bounds(len(label))
        losses = []
        for network, sums, start, end in zip(self.networks, self._sums, ends, ends[1:]):
            # Of no example there is no gradient; of one that counts for nothing, it is zero.
            part, weight = (slice(start, end), 1) if start < end else (slice(1), 0)
            losses.append(weight * network.loss(X[part], label[part]))
            with autograd.pause():
                losses[-1].copyto(sums[-1:])
        return nd.add_n(*(loss.as_in_context(losses[0].context) for loss in losses))

    def sum_up(self):
        """After the backward pass: put the gradients of the whole batch in their places.

        Returns
        -------
        NDArray, float32, shape (1,)
            The loss of the whole batch.
        """
        self._workers.sum(self._sums)
        return self._sums[0][-1:].copy()

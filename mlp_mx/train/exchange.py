"""What the devices that share a batch tell each other: gradients, or the factors of gradients.

The gradients of a batch's parts add up to its gradient. They are as large as the parameters,
however small the batch; and their sum is not rounded as the gradient of the whole batch is.

But the gradient of a layer's weights is a product of two matrices, both with a row for each
example: the gradients at the layer's outputs, transposed, and its inputs. So each device can
compute the rows of its examples, get the other rows from the others, and multiply all as one device
alone would [1]_. For small batches that is less to tell. And it is the same to the last bit, where
rounding a row of a matrix product does not depend on how many rows there are; docs/distributed.rst
says where that is.

.. [1] P. Xie et al., "Lighter-communication distributed machine learning via sufficient factor
   broadcasting", Uncertainty in Artificial Intelligence, 2016.
"""

import numpy as np

from .. import fast
from ..model import NAMES
from ..runtime.lazy import autograd, mx, nd

__all__ = ["Factors", "Gradients", "rows"]

# oneDNN rounds the rows of all whole blocks of so many alike, if there are two blocks or more.
BLOCK = 12


class Gradients:
    """One device's part in a batch, which tells the gradients of its examples.

    Parameters
    ----------
    network : fast.Network
    array : NDArray, float32, shape (number of all parameters + 1,)
        The network's gradients, and room for a number.
    start, end : int
        The device's examples; none if these are equal.

    Attributes
    ----------
    array : NDArray, float32
        To be summed over the devices after the backward pass, before `finish`.
    """

    def __init__(self, network, array, start, end):
        self.array = array
        self._network, self._loss = network, array[-1:]
        # Of no example there is no gradient; of one that counts for nothing, it is zero.
        self._examples, self._weight = (slice(start, end), 1) if start < end else (slice(1), 0)

    def loss(self, X, label):
        """The loss of the device's examples in the whole batch, as `fast.Network.loss` has it."""
        loss = self._weight * self._network.loss(X[self._examples], label[self._examples])
        with autograd.pause():
            loss.copyto(self._loss)
        return loss

    def finish(self):
        """Put the batch's gradients where the network has them, and return the batch's loss."""
        return self._loss.copy()


class Factors:
    """One device's part in a batch, which tells the factors of its gradients.

    It is used as `Gradients` is.

    Parameters
    ----------
    network : fast.Network
    num_examples : int
        Size of the whole batch.
    start, end : int
        The device's examples; none if these are equal.
    """

    def __init__(self, network, num_examples, start, end):
        self._network = network
        self.array = nd.zeros(self.size(num_examples, **network.sizes), network.ctx)
        shapes = [(num_examples, width) for width in self._widths(**network.sizes)]
        self._tables = fast.slices(self.array, shapes)
        first, last = rows(num_examples, start, end)
        computed = np.arange(first, last)[:, None]
        self._counts = nd.array((start <= computed) & (computed < end), network.ctx)
        self._examples = slice(first, last)
        own = [table[first:last] for table in self._tables]
        deltas, self._outputs = own[:3], own[3:]
        # Autograd has gradients at variables only: at zeros that are added to a layer's outputs.
        self._zeros = [nd.zeros_like(delta) for delta in deltas]
        autograd.mark_variables(self._zeros, deltas)
        self._params = [value.detach() for value in network.values]  # and none at these
        self._forward, self._gradients = _compiled(network, num_examples)

    @staticmethod
    def _widths(num_hidden, num_outputs):
        """Of the tables with a row for each example: deltas1, deltas2, deltas3, h1, h2, losses."""
        return num_hidden, num_hidden, num_outputs, num_hidden, num_hidden, 1

    @classmethod
    def size(cls, num_examples, num_hidden, num_outputs):
        """How many numbers there are to tell."""
        return num_examples * sum(cls._widths(num_hidden, num_outputs))

    def loss(self, X, label):
        """As `Gradients.loss`."""
        self._X = self._network.flatten(X)
        loss, *outputs = self._forward(
            self._X[self._examples], label[self._examples].as_in_context(self._network.ctx),
            self._counts, *self._zeros, *self._params,
        )
        with autograd.pause():
            self.array[:] = 0  # where the sums of the last batch are
            for output, own in zip(outputs, self._outputs):
                output.copyto(own)
        return loss

    def finish(self):
        """As `Gradients.finish`."""
        *factors, losses = self._tables
        self._gradients(self._X, *factors, out=self._network.grads)
        return nd.sum(losses)


def rows(num_examples, start, end):
    """The rows that a device computes in whole blocks to have those from `start` to `end`.

    Returns
    -------
    first, last : int
        Two whole blocks at least, or all up to the end of the batch.
    """
    first = max(0, min(start, num_examples - 2 * BLOCK)) // BLOCK * BLOCK
    return first, min(num_examples, first + _in_blocks(end - first))


def _compiled(network, num_examples):
    """What `Factors` computes before and after the exchange, as functions of NDArrays."""
    names = ["X", "label", "counts", "zeros1", "zeros2", "zeros3", *NAMES]
    forward = _forward(*map(mx.sym.var, names), **network.sizes)
    factors = ["X", "deltas1", "deltas2", "deltas3", "h1", "h2"]
    sizes = {**network.sizes, "num_inputs": network.values[0].shape[1]}
    gradients = _gradients(*map(mx.sym.var, factors), num_examples, **sizes)
    return fast.compiled(forward, names), fast.compiled(gradients, factors)


def _forward(X, label, counts, zeros1, zeros2, zeros3, *params, **sizes):
    """The sum of the losses that count; and what counts of the hidden layers and of the losses."""
    sym = mx.sym
    h1, h2, yhat_linear = fast.layers(sym, X, *params, **sizes, zeros=(zeros1, zeros2, zeros3))
    losses = fast.losses(yhat_linear, label) * counts
    outputs = sym.broadcast_mul(h1, counts), sym.broadcast_mul(h2, counts), losses
    return sym.Group([sym.sum(losses), *map(sym.BlockGrad, outputs)])


def _gradients(X, deltas1, deltas2, deltas3, h1, h2, num_examples, num_inputs, num_hidden,
               num_outputs):
    """The gradients of the parameters of a `fast.Network`, as its backward pass rounds them."""
    sym = mx.sym
    layers = [
        (X, num_inputs, deltas1, num_hidden), (h1, num_hidden, deltas2, num_hidden),
        (h2, num_hidden, deltas3, num_outputs),
    ]
    gradients = []
    for inputs, width_in, deltas, width_out in layers:
        inputs, deltas = sym.transpose(inputs), sym.transpose(deltas)
        # The last row again, up to whole blocks.
        blocks = sym.take(deltas, sym.arange(_in_blocks(width_out)), mode="clip")
        weights = _product(blocks, inputs, width_in)
        sums = _product(sym.ones((2 * BLOCK, num_examples)), deltas, width_out)
        gradients += [sym.slice_axis(weights, axis=0, begin=0, end=width_out),
                      sym.reshape(sym.slice_axis(sums, axis=0, begin=0, end=1), (-1,))]
    return sym.Group(gradients)


def _product(A, B, rows_of_B):
    """A times B transposed."""
    return mx.sym.FullyConnected(A, B, no_bias=True, num_hidden=rows_of_B)


def _in_blocks(num_rows):
    """At least as many rows, in two or more whole blocks."""
    return max(2, -(-num_rows // BLOCK)) * BLOCK

"""What stands behind training and evaluation: the chapter's mathematics, in the order that is fast.

`model.net` and `model.softmax_cross_entropy` say what is computed, and tests hold this module
against them. What makes it two to three times faster on a CPU, with MXNet 1.9.1:

- ``FullyConnected`` for ``nd.dot`` and the bias: it calls oneDNN, which knows newer CPUs than the
  OpenBLAS in the wheel does, but wants its weights as (outputs, inputs). So a `Network` works on
  copies of the parameters in that layout, and the parameters get them back after the epoch.
- All parameters are slices of one array, and their gradients of another: SGD is then one operation.
- The forward and the backward pass are a ``CachedOp`` each, one call from Python.
- Evaluation takes turns between two CPU contexts, whose queues run at the same time.
"""

import contextlib
import itertools

import numpy as np

from ._support.progress import steps
from .model import NAMES
from .runtime.lazy import autograd, mx, nd

__all__ = ["Network", "compiled", "count_correct", "layers", "losses", "slices", "training"]


def layers(F, X, W1, b1, W2, b2, W3, b3, num_hidden, num_outputs, zeros=(None, None, None)):
    """h1, h2 and yhat_linear of `model.net`, from transposed weights.

    F is ``mx.nd`` or, to be traced, ``mx.sym``. Zeros, if given, are added to the layers' outputs,
    before the relu: their gradients are those at these outputs.
    """
    def linear(inputs, W, b, width, zeros):
        outputs = F.FullyConnected(inputs, W, b, num_hidden=width)
        return outputs if zeros is None else outputs + zeros

    h1 = F.relu(linear(X, W1, b1, num_hidden, zeros[0]))
    h2 = F.relu(linear(h1, W2, b2, num_hidden, zeros[1]))
    return h1, h2, linear(h2, W3, b3, num_outputs, zeros[2])


def losses(yhat_linear, label):
    """`model.softmax_cross_entropy` of each example, from class indices: symbols."""
    return -mx.sym.pick(mx.sym.log_softmax(yhat_linear), label, keepdims=True)


def _loss(X, label, *params, **sizes):
    """The sum of the losses of a batch."""
    return mx.sym.sum(losses(layers(mx.sym, X, *params, **sizes)[-1], label))


class Network:
    """A copy of the parameters, laid out for speed, and what is computed with it.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]`` as `model.init_params` describes them.
    ctx : mxnet.Context, optional
        By default that of the parameters.
    grad : NDArray, float32, shape (number of all parameters,), optional
        Where to put the gradients; by default in a new array.

    Attributes
    ----------
    params : list of one NDArray, float32, shape (number of all parameters,)
        For `train.SGD`.
    values, grads : list of NDArray
        The parameters, the weights of shape (outputs, inputs), and their gradients: slices of the
        above and of its gradient.
    sizes : dict
        ``num_hidden`` and ``num_outputs``.
    """

    def __init__(self, params, ctx=None, grad=None):
        self.ctx = ctx or params[0].context
        self.sizes = {"num_hidden": params[1].size, "num_outputs": params[5].size}
        flat = nd.concat(*[param.T.reshape(-1) for param in params], dim=0)
        flat = flat.as_in_context(self.ctx)
        autograd.mark_variables([flat], [nd.zeros_like(flat) if grad is None else grad])
        self.params = [flat]
        shapes = [param.shape[::-1] for param in params]
        self.values, self.grads = slices(flat, shapes), slices(flat.grad, shapes)
        autograd.mark_variables(self.values, self.grads)
        names = ["X", "label", *NAMES]
        self._loss = compiled(_loss(*map(mx.sym.var, names), **self.sizes), names)

    def loss(self, X, label):
        """The loss of a batch, summed, in nats: NDArray of shape (1,).

        Labels are indices from 0 to num_outputs - 1; others count as the nearest of these. Unlike
        the chapter's ``nansum``, the sum is NaN if one of the examples' losses is.
        """
        return self._loss(self.flatten(X), label.as_in_context(self.ctx), *self.values)

    def predict(self, X):
        """The most likely class of each example: NDArray, float32, shape (batch,)."""
        *_, yhat_linear = layers(nd, self.flatten(X), *self.values, **self.sizes)
        return nd.argmax(yhat_linear, axis=1)

    def flatten(self, X):
        """Images, of any shape, as rows of numbers on the network's device."""
        return X.as_in_context(self.ctx).reshape((X.shape[0], -1))

    def give_back(self, params):
        """Write the parameters, and the gradients of the last batch, to where they came from."""
        for param, value, grad in zip(params, self.values, self.grads):
            value.T.copyto(param)
            if param.grad is not None:
                grad.T.copyto(param.grad)


def slices(flat, shapes):
    """Cut a flat array into arrays of some shapes, which share its memory."""
    ends = np.cumsum([np.prod(shape) for shape in shapes]).tolist()
    return [flat[start:end].reshape(shape) for start, end, shape in zip([0, *ends], ends, shapes)]


def compiled(symbol, names):
    """A function that computes a symbol from NDArrays in the order of their names."""
    op = nd.CachedOp(symbol, flags=[("static_alloc", True)])
    order = [names.index(name) for name in symbol.list_inputs()]
    return lambda *arrays, out=None: op(*[arrays[i] for i in order], out=out)


@contextlib.contextmanager
def training(params):
    """Lend out a `Network` to train; whatever ends the training, `params` get its result."""
    network = Network(params)
    try:
        yield network
    finally:
        network.give_back(params)


def count_correct(batches, params, contexts=None):
    """Count the examples that are classified rightly.

    Parameters
    ----------
    batches : iterable of (data, label)
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``.
    contexts : list of mxnet.Context, optional
        Devices that take turns; by default that of the parameters, in two queues if it is a CPU.

    Returns
    -------
    correct, seen : int
    """
    ctx = params[0].context
    queues = [mx.cpu(0), mx.cpu(1)] if ctx.device_type == "cpu" else [ctx]
    networks = [Network(params, queue) for queue in contexts or queues]
    correct, seen = [], 0
    for (X, label), network in zip(steps(batches, show=False), itertools.cycle(networks)):
        correct.append(nd.sum(network.predict(X) == label.as_in_context(network.ctx)))
        seen += len(label)
        if len(correct) > 4:  # else the copies of all batches would be made, and held, at once
            correct[-5].wait_to_read()
    return int(sum(count.asscalar() for count in correct)), seen

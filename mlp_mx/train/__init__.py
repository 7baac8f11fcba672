"""The chapter's training: the training loop, the evaluation metric, and the optimizer, `SGD`.

Everything else is wrapped around what goes into the loops: `batches` around the data, `fast` around
functions and parameters. `hints` checks before and after an epoch.
"""

import time
from typing import Iterator

from .. import fast, model
from .._support import signals
from .._support.functions import net_of_params
from ..runtime.lazy import autograd, nd
from . import batches, hints
from .arguments import check_arguments, check_network
from .epochs import Epoch, lazily
from .hints import DivergenceError
from .optimizer import SGD

__all__ = ["DivergenceError", "Epoch", "SGD", "evaluate_accuracy", "fit", "train_epoch"]


def __dir__():
    return __all__


def train_epoch(params, train_data, learning_rate, net=model.net,
                loss=model.softmax_cross_entropy, update=SGD, num_outputs=10):
    """Pass over the training data once, with one update per batch: the chapter's inner loop.

    Parameters
    ----------
    params, learning_rate, net, loss, update
        As for `fit`. For speed, use `fast.traced` functions and `fast.packed` parameters.
    train_data : iterable of (data, label)
        float32 NDArrays on the parameters' device, of shapes (batch, …) and (batch,).
    num_outputs : int, default 10
        Number of classes.

    Returns
    -------
    float
        The sum of the losses of all examples, in nats.
    """
    cumulative_loss = 0
    for data, label in train_data:
        data = data.reshape((len(data), -1))
        label_one_hot = nd.one_hot(label, num_outputs)
        with autograd.record():
            output = net(data, params)
            losses = loss(output, label_one_hot)
        losses.backward()
        update(params, learning_rate)
        cumulative_loss += nd.sum(losses)
    return float(cumulative_loss.asscalar())


def evaluate_accuracy(data_iterator, params, net=model.net):
    """Compute the fraction of examples that a network classifies correctly.

    Parameters
    ----------
    data_iterator : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    params, net
        As for `fit`.

    Returns
    -------
    float
        In [0, 1].
    """
    check_network(net, params)
    net = fast.traced(net_of_params(net))
    numerator = denominator = 0
    with fast.packed(params) as params:
        for data, label in batches.for_evaluation(data_iterator, params, net):
            output = net(data.reshape((len(data), -1)), params)
            predictions = nd.argmax(output, axis=1)
            numerator += nd.sum(predictions == label)
            denominator += len(label)
    return int(numerator.asscalar()) / denominator


@lazily
def fit(params, train_data, test_data, epochs=10, learning_rate=0.001, net=model.net,
        loss=model.softmax_cross_entropy, update=SGD, start_epoch=0,
        progress=False) -> Iterator[Epoch]:
    """Train for some epochs, and evaluate after each: the chapter's outer loop.

    Parameters
    ----------
    params : list of NDArray, float32
        Changed in place, except arrays whose ``grad_req`` is "null".
    train_data, test_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them; for arrays, see `mlp_mx.data.ArrayLoader`.
    epochs : int, default 10
        In total, including those before `start_epoch`.
    learning_rate : float, default 0.001
        Small, because a batch's losses are summed, not averaged.
    net : callable, default `mlp_mx.model.net`
        ``net(X, params)`` returns logits; X is float32, shape (batch, num_inputs). The chapter's
        ``net(X)``, whose parameters are globals, works, too, and so does a gluon block.
        In training, ``autograd.is_training()`` is true; in evaluation it is not.
    loss : callable, default `mlp_mx.model.softmax_cross_entropy`
        ``loss(yhat_linear, y)`` returns a loss for each example, not their mean; y is one-hot.
    update : callable, default `SGD`
        ``update(params, lr)`` changes parameters in place, as in ``param[:] = …``, given their
        gradients. `mlp_mx.fast.elementwise` makes it faster.
    start_epoch : int, default 0
        Number of epochs already done. With the parameters from then, training on the same type of
        processor ends bit for bit as if it had not been interrupted.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Yields
    ------
    Epoch
        After each epoch. The next epoch starts when the next record is requested. If an epoch is
        interrupted, the parameters are those after its last batch.

    Raises
    ------
    DivergenceError
        If the loss, or a parameter, is not finite after an epoch.
    InputError
        If there is no example, or if batches, parameters, network and loss do not fit together.

    Warns
    -----
    UserWarning
        If functions cannot be traced and so run slower (see `mlp_mx.fast`), or if
        training seems to go wrong: for example, if the loss has not fallen in an epoch.
    """
    check_arguments(params, train_data, test_data, epochs, learning_rate, net, loss, update)
    net, loss = fast.traced(net_of_params(net)), fast.traced(loss)
    first = None
    for epoch in range(start_epoch, epochs):
        begin = time.perf_counter()
        with signals.deferred():
            seen = batches.for_training(train_data, params, epoch, progress)
            watched = hints.Watched(params, epoch)
            with fast.packed(params, update) as working:
                first = first or hints.First(seen.first, train_data, working, net, loss)
                cumulative_loss = train_epoch(
                    working, batches.with_labels_in_range(seen, first.num_outputs), learning_rate,
                    net, loss, update, first.num_outputs)
                first.compare_late(working, seen.late, epoch)
                first.look_again(working, seen.num_batches)
            mean_loss = cumulative_loss / seen.num_examples
            watched.check(params, mean_loss, learning_rate, first)
            test_accuracy = evaluate_accuracy(test_data, params, net)
            train_accuracy = evaluate_accuracy(train_data, params, net)
        yield Epoch(epoch, mean_loss, train_accuracy, test_accuracy, time.perf_counter() - begin)

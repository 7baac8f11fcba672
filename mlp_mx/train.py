"""The chapter's training: SGD, the metric, the loop, and ``python -m mlp_mx.train``."""

import sys
import time
from typing import NamedTuple

import numpy as np

from . import Error, InputError, checkpoint, cli, data, distributed, fast, model, published, runtime
from .runtime import autograd, nd

__all__ = ["DivergenceError", "Epoch", "SGD", "evaluate_accuracy", "fit", "train_epoch"]

# Batches whose losses are read from the device at once. Reading each would make the Python thread
# wait each time; reading none would let it run ahead of the device, and memory grow with that.
BATCHES_PER_READ = 50
# Examples evaluated at once, where they are in memory anyway.
EVALUATION_BATCH = 500

DIVERGED = "training diverged; try a smaller --learning-rate, --batch-size or --weight-scale"


class DivergenceError(Error, ArithmeticError):
    """The loss, or a parameter, is not a finite number any more."""


class Epoch(NamedTuple):
    """What `fit` reports of an epoch."""

    epoch: int
    """Its number, from 0."""
    loss: float
    """Mean over the epoch's examples, in nats, while the parameters changed."""
    train_accuracy: float
    """Fraction of the training examples classified rightly after the epoch."""
    test_accuracy: float
    """Fraction of the test examples classified rightly after the epoch."""
    seconds: float
    """Wall time of the epoch, training and evaluation together."""


def SGD(params, lr):
    """Take one step of stochastic gradient descent, in place: param - lr * param.grad.

    Parameters
    ----------
    params : list of NDArray
        With gradients attached and computed.
    lr : float
        Learning rate.
    """
    # The chapter's param[:] = param - lr * param.grad passes over the memory three times. gemm, of
    # matrices with one row, computes alpha * A B + beta * C in one pass.
    for param in params:
        one = nd.ones((1, 1), ctx=param.context)
        row, grad = param.reshape((1, -1)), param.grad.reshape((1, -1))
        nd.linalg.gemm(one, grad, row, alpha=-lr, beta=1, out=row)


def evaluate_accuracy(data_iterator, params, workers=None):
    """Compute the fraction of examples that the network classifies rightly.

    Parameters
    ----------
    data_iterator : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``.
    workers : mlp_mx.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there is no example.
    """
    if isinstance(data_iterator, data.ArrayLoader):
        data_iterator = data_iterator.in_order(EVALUATION_BATCH)
    correct, seen = (workers or fast).count_correct(data_iterator, params)
    if not seen:
        raise ValueError("expected at least one example to evaluate on, found none")
    return correct / seen


def train_epoch(params, train_data, learning_rate, epoch=0, progress=False, workers=None):
    """Pass over the training data once, with one step of `SGD` for each batch.

    The gradient of a batch is that of the sum of its examples' losses, not of their mean.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, changed in place.
    train_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    learning_rate : float
    epoch : int, default 0
        Its number; an `mlp_mx.data.ArrayLoader` takes its order from it.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.distributed.Workers, optional
        Those to share each batch with; by default nobody.

    Returns
    -------
    float
        Mean loss of the epoch's examples, in nats.

    Raises
    ------
    DivergenceError
        If the loss of a batch is not finite, or a parameter after the last batch.
    """
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    losses = _Losses(epoch)
    num_examples = 0
    with (workers or fast).training(params) as network:
        for X, label in cli.steps(train_data, progress, desc=f"epoch {epoch}", unit="batch"):
            with autograd.record():
                loss = network.loss(X, label)
            loss.backward()
            if workers:
                loss = network.sum_up(loss)  # and the gradients, over all devices
            SGD(network.params, learning_rate)
            losses.append(loss)
            num_examples += len(label)
    if not num_examples:
        raise ValueError("expected at least one example to train on, found none")
    mean_loss = losses.total() / num_examples
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {DIVERGED}")
    return mean_loss


class _Losses:
    """Adds up the batches' losses, and reads them from the device some at a time."""

    def __init__(self, epoch):
        self._epoch = epoch
        self._unread = []
        self._read = []

    def append(self, loss):
        self._unread.append(loss)
        if len(self._unread) == BATCHES_PER_READ:
            self._read_and_check()

    def total(self):
        self._read_and_check()
        return float(np.sum(self._read, dtype=np.float64))

    def _read_and_check(self):
        if self._unread:
            self._read.extend(nd.concat(*self._unread, dim=0).asnumpy())
            self._unread.clear()
        wrong = np.flatnonzero(~np.isfinite(self._read))
        if len(wrong):
            raise DivergenceError(
                f"the loss is not finite in epoch {self._epoch}, batch {wrong[0]}: {DIVERGED}"
            )


def fit(
    params, train_data, test_data, epochs=10, learning_rate=0.001, start_epoch=0, progress=False,
    workers=None,
):
    """Train for some epochs, and evaluate after each.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, changed in place.
    train_data, test_data : iterable of (data, label)
        Batches as `mlp_mx.data.load` describes them.
    epochs : int, default 10
        The number of the epoch to stop before.
    learning_rate : float, default 0.001
        Small, because a batch's loss is summed and not averaged.
    start_epoch : int, default 0
        The number of the first epoch.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.
    workers : mlp_mx.distributed.Workers, optional
        Those to share the work with; by default nobody.

    Yields
    ------
    Epoch
        After each epoch. The next one is not begun before it is asked for.

    Raises
    ------
    DivergenceError
        As `train_epoch` does.
    """
    for epoch in range(start_epoch, epochs):
        start = time.perf_counter()
        loss = train_epoch(params, train_data, learning_rate, epoch, progress, workers)
        test_accuracy = evaluate_accuracy(test_data, params, workers)
        train_accuracy = evaluate_accuracy(train_data, params, workers)
        yield Epoch(epoch, loss, train_accuracy, test_accuracy, time.perf_counter() - start)


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.train",
        description="Train the chapter's multilayer perceptron. The defaults are the chapter's.",
    )
    add = parser.add_argument
    add("--ctx", default="auto", metavar="NAME", help="device: auto, cpu, gpu or gpu:N; or "
        "several, such as gpu:0,gpu:1, to share each batch")
    add("--dataset", default="auto", choices=data.DATASETS,
        help="MNIST, or glyphs, digits drawn from fonts; auto is MNIST if it can be had")
    add("--data-dir", metavar="DIR", help="folder in which the data set is, or will be, kept")
    add("--epochs", type=cli.integer(1, 10**6), default=10, metavar="N",
        help="passes over the training data")
    add("--batch-size", type=cli.integer(1, 10**6), default=64, metavar="N", help="examples a step")
    add("--learning-rate", type=cli.number(1e-12, 1e6), default=0.001, metavar="X",
        help="step size")
    add("--num-hidden", type=cli.integer(1, 16384), default=256, metavar="N",
        help="units in each of the two hidden layers")
    add("--weight-scale", type=cli.number(0, 1e6), default=0.01, metavar="X",
        help="standard deviation of the initial parameters")
    add("--seed", type=cli.integer(0, 2**32 - 1), default=0, metavar="N",
        help="of the initial parameters and of the order of the examples")
    add("--save", metavar="PATH",
        help="file to save the model to after each epoch, .npz or .params")
    add("--resume", metavar="PATH", help="saved model to go on from, to the same end as without a "
        "break; the other options must be as they were, but --epochs may be more")
    add("--kvstore", choices=distributed.KVSTORES, help="who sums up the gradients: device, for "
        "several devices; dist_sync, for the processes of python -m mlp_mx.launch")
    add("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    return parser


def _start(args, settings, ctx):
    """The parameters to start from, and the number of the first epoch."""
    if args.resume is None:
        params = model.init_params(
            num_hidden=args.num_hidden, weight_scale=args.weight_scale, seed=args.seed, ctx=ctx
        )
        return params, 0
    params, saved = checkpoint.load(args.resume, ctx)
    differing = [f"{name} was {saved.get(name)!r} and is {value!r}"
                 for name, value in settings.items() if saved.get(name) != value]
    if differing:
        raise InputError(f"--resume {args.resume}: {', '.join(differing)}; give the same options")
    if saved["epoch"] + 1 >= args.epochs:
        raise InputError(f"--resume {args.resume}: it has all of {saved['epoch'] + 1} epochs, and "
                         f"--epochs is {args.epochs}; ask for more")
    return params, saved["epoch"] + 1


def _summary(record, name):
    """The run's result in one line, beside the published one where that can be compared."""
    line = f"{name} test accuracy after epoch {record.epoch}: {record.test_accuracy:.4f}"
    if name != "MNIST":
        return f"{line} (not MNIST; no published accuracy compares with it)"
    epoch = min(record.epoch, len(published.RUNS[0]) - 1)
    accuracies = " and ".join(f"{run[epoch][2]:.4f}" for run in published.RUNS)
    return f"{line} (published for the chapter's settings: {accuracies})"


@cli.command
def main(argv=None):
    """Train as the command line says, and print one line an epoch."""
    args = _parser().parse_args(argv)
    progress = not args.no_progress
    ctx = runtime.context(args.ctx)
    if args.save is not None:
        checkpoint.check_path(args.save)  # before hours of work are done for it
    train_data, test_data = data.load(
        args.dataset, args.data_dir, args.batch_size, args.seed, ctx, progress
    )
    name = train_data.name
    options = ("batch_size", "learning_rate", "num_hidden", "weight_scale", "seed")
    settings = {"dataset": name, **{option: getattr(args, option) for option in options}}
    params, start_epoch = _start(args, settings, ctx)
    print(
        f"{name}: {train_data.num_examples} training and {test_data.num_examples} test examples, "
        f"on {ctx}", flush=True,
    )
    for record in fit(
        params, train_data, test_data, args.epochs, args.learning_rate, start_epoch, progress
    ):
        print(
            f"Epoch {record.epoch}. Loss: {record.loss:.5f}, "
            f"Train_acc {record.train_accuracy:.5f}, Test_acc {record.test_accuracy:.4f}",
            flush=True,
        )
        if args.save is not None:
            checkpoint.save(args.save, params, **settings, **record._asdict())
    print(_summary(record, name))
    if args.save is not None:
        print(f"saved as {args.save}")


if __name__ == "__main__":
    sys.exit(main())

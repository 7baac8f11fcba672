"""The chapter's training: SGD, the metric, the loop, and ``python -m mlp_mx.train``."""

import contextlib
import sys
import time
from typing import NamedTuple

import numpy as np

from . import (
    Error, InputError, checkpoint, cli, data, distributed, fast, keep, model, published, runtime,
)
from .runtime import autograd, nd

__all__ = [
    "DivergenceError", "Epoch", "Losses", "Position", "SGD", "evaluate_accuracy", "fit",
    "train_epoch",
]

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


class Position(NamedTuple):
    """How far training has come, between two batches."""

    epoch: int = 0
    """Number of the epoch that it is in."""
    batch: int = 0
    """Number of the next batch."""
    loss: float = 0.0
    """Sum of the losses of the epoch's examples so far, in nats."""


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
    row = one = nd.ones((1, 1), ctx=params[0].context)
    for param in params:
        if param.context != one.context:
            # From the row before, and so after its update: with OpenMP threads, the OpenBLAS in the
            # wheel hangs when two devices call it at the same time.
            one = nd.ones_like(row[:, :1]).as_in_context(param.context)
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


def train_epoch(
    params, train_data, learning_rate, epoch=0, progress=False, losses=None, workers=None
):
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
    losses : Losses, optional
        Of the epoch's first batches, where it goes on after those.
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
    ValueError
        If there is no example.
    """
    if hasattr(train_data, "set_epoch"):
        train_data.set_epoch(epoch)
    losses = losses or Losses(Position(epoch))
    num_examples = 0
    with (workers or fast).training(params) as network:
        batches = cli.steps(train_data, progress, desc=f"epoch {epoch}", unit="batch")
        for batch, (X, label) in enumerate(batches):
            num_examples += len(label)
            if batch < losses.batch:
                continue
            with autograd.record():
                loss = network.loss(X, label)
            loss.backward()
            if workers:
                loss = network.sum_up()  # with the gradients, over all devices
            SGD(network.params, learning_rate)
            losses.append(loss)
    if not num_examples:
        raise ValueError("expected at least one example to train on, found none")
    mean_loss = losses.position().loss / num_examples
    if not all(np.isfinite(param.asnumpy()).all() for param in params):
        raise DivergenceError(f"a parameter is not finite after epoch {epoch}: {DIVERGED}")
    return mean_loss


class Losses:
    """Adds up the batches' losses, and reads them from the device some at a time.

    Parameters
    ----------
    position : Position
        Where to go on adding.
    """

    def __init__(self, position):
        self._position = position
        self._unread = []

    @property
    def batch(self):
        """Number of the next batch."""
        return self._position.batch + len(self._unread)

    def append(self, loss):
        """Add a batch's summed loss, an NDArray of shape (1,)."""
        self._unread.append(loss)
        if len(self._unread) == BATCHES_PER_READ:
            self.position()

    def position(self):
        """How far the epoch has come; waits for the device.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
        epoch, batch, total = self._position
        for loss in nd.concat(*self._unread, dim=0).asnumpy() if self._unread else ():
            if not np.isfinite(loss):
                raise DivergenceError(
                    f"the loss is not finite in epoch {epoch}, batch {batch}: {DIVERGED}"
                )
            batch += 1
            total += float(loss)  # one after the other, so that a break changes no bit of the sum
        self._position, self._unread = Position(epoch, batch, total), []
        return self._position


def fit(
    params, train_data, test_data, epochs=10, learning_rate=0.001, start=Position(),
    progress=False, workers=None,
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
    start : Position, default the beginning
        Where to go on: with the same parameters as there, the end is the same to the last bit.
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
    mlp_mx.cli.Stopped
        At Ctrl-C or SIGTERM in a command, between two batches; its `position` is how far it came.
    """
    for epoch in range(start.epoch, epochs):
        begin = time.perf_counter()
        losses = Losses(start if epoch == start.epoch else Position(epoch))
        try:
            loss = train_epoch(params, train_data, learning_rate, epoch, progress, losses, workers)
            test_accuracy = evaluate_accuracy(test_data, params, workers)
            train_accuracy = evaluate_accuracy(train_data, params, workers)
        except cli.Stopped as stop:
            stop.position = losses.position()
            raise
        yield Epoch(epoch, loss, train_accuracy, test_accuracy, time.perf_counter() - begin)


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
    add("--data-dir", type=cli.path, metavar="DIR",
        help="folder in which the data set is, or will be, kept")
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
    add("--save", type=cli.path, metavar="PATH",
        help="file to save the model to, .npz or .params, as training goes on, at its end, and at "
        "Ctrl-C or SIGTERM")
    add("--save-every", type=cli.integer(1, 10**6), metavar="N",
        help="epochs from one save to the next (default: 1)")
    add("--resume", type=cli.path, metavar="PATH",
        help="saved model to go on from, to the same end as without a break; the other options "
        "must be as they were, but --epochs may be more")
    add("--log", type=cli.path, metavar="PATH", help="file to add one JSON line an epoch to")
    add("--plot", type=cli.path, metavar="PATH",
        help="file to draw the learning curves of this run to, .png, .svg or .pdf")
    add("--kvstore", choices=distributed.KVSTORES,
        help="who sums up gradients or their factors: device, for several devices; dist_sync, "
        "for the processes of python -m mlp_mx.launch")
    add("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    return parser


def _start(args, settings, ctx):
    """The parameters and the position to start from, and the last epoch before it, if any."""
    if args.resume is None:
        params = model.init_params(
            num_hidden=args.num_hidden, weight_scale=args.weight_scale, seed=args.seed, ctx=ctx
        )
        return params, Position(), None
    params, saved = checkpoint.load(args.resume, ctx)
    if "position" not in saved:
        raise InputError(f"--resume {args.resume}: expected a model that --save has saved, found "
                         "one that does not say where its training ended")
    differing = [f"{name} was {saved.get(name)!r} and is {value!r}"
                 for name, value in settings.items() if saved.get(name) != value]
    if differing:
        raise InputError(f"--resume {args.resume}: {', '.join(differing)}; give the same options")
    try:
        position = Position(**saved["position"])
        last = Epoch(*(saved[name] for name in Epoch._fields)) if position.epoch else None
        whole = position >= Position()
    except (KeyError, TypeError):
        whole = False
    if not whole or [param.shape for param in params] != model.shapes(num_hidden=args.num_hidden):
        raise InputError(f"--resume {args.resume}: what it says of its training does not fit "
                         "together; use a model that --save has saved")
    if position > Position(args.epochs):
        raise InputError(f"--resume {args.resume}: its training is in epoch {position.epoch}, and "
                         f"--epochs is {args.epochs}; ask for more")
    return params, position, last


def _follow(records, keeper, start, last):
    """Keep and print each epoch's record, and return the last one, or else the one from before."""
    with cli.uninterrupted():
        try:
            for last in records:
                keeper.epoch(last._asdict(), Position(last.epoch + 1)._asdict())
                print(
                    f"Epoch {last.epoch}. Loss: {last.loss:.5f}, "
                    f"Train_acc {last.train_accuracy:.5f}, Test_acc {last.test_accuracy:.4f}",
                    flush=True,
                )
        except cli.Stopped as stop:
            if stop.position == start:  # nothing was done that would have to be saved
                raise
            raise cli.Stopped(keeper.finish(stop.position._asdict())) from None
        except OSError:  # nobody can read what is printed, which is no reason to lose the model
            keeper.finish(Position(last.epoch + 1)._asdict())
            raise
    return last


def _summary(record, name):
    """The run's result in one line, beside the published one where that can be compared."""
    line = f"{name} test accuracy after epoch {record.epoch}: {record.test_accuracy:.4f}"
    if name != "MNIST":
        return f"{line} (not MNIST; no published accuracy compares with it)"
    epoch = min(record.epoch, len(published.RUNS[0]) - 1)
    accuracies = " and ".join(f"{run[epoch][2]:.4f}" for run in published.RUNS)
    return f"{line} (published for the chapter's settings: {accuracies})"


def _run(args, devices, workers):
    """Train as the command line says, on these devices; `workers` are None where there is one."""
    progress = not args.no_progress
    keeper = keep.Keeper(args.save, args.save_every or 1, args.log, args.plot)
    train_data, test_data = data.load(
        args.dataset, args.data_dir, args.batch_size, args.seed, devices[0], progress
    )
    name = train_data.name
    options = ("batch_size", "learning_rate", "num_hidden", "weight_scale", "seed")
    settings = {"dataset": name, **{option: getattr(args, option) for option in options}}
    params, start, last = _start(args, settings, devices[0])
    if workers:
        workers.check_alike((settings, start, args.epochs), params)
    print(
        f"{name}: {train_data.num_examples} training and {test_data.num_examples} test examples, "
        f"on {', '.join(map(str, devices))}"
        + (f" of each of {workers.num_workers} workers" if args.kvstore == "dist_sync" else ""),
        flush=True,
    )
    keeper.begin(params, {**settings, **(last._asdict() if last else {})})
    records = fit(
        params, train_data, test_data, args.epochs, args.learning_rate, start, progress, workers
    )
    last = _follow(records, keeper, start, last)
    print(_summary(last, name))
    saved = keeper.finish(Position(last.epoch + 1)._asdict())
    if saved:
        print(saved)


@cli.command
def main(argv=None):
    """Train as the command line says, and print one line an epoch."""
    args = _parser().parse_args(argv)
    if args.save_every is not None and args.save is None:
        raise InputError("--save-every needs --save, which says where")
    cli.check_different(args, "save", "log", "plot")
    devices = runtime.contexts(args.ctx)
    workers = distributed.join(args.kvstore, devices)
    with contextlib.ExitStack() as stack:
        if workers:
            stack.enter_context(workers)
            if workers.rank > 0:  # only the first prints, logs and saves
                stack.enter_context(contextlib.redirect_stdout(None))
                args.save = args.save_every = args.log = args.plot = None
                args.no_progress = True
        _run(args, devices, workers)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m mlp_mx.train``: the chapter's run."""

import contextlib
import sys

from . import Epoch, Position, distributed, fit, keep, published
from .. import InputError, checkpoint, data, model, runtime
from .._support import cli


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
        + (f" of each of {workers.num_workers} workers" if workers and workers.num_workers > 1 else ""),
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
    workers = distributed.join(devices)
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

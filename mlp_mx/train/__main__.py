"""``python -m mlp_mx.train``: train as the chapter does; save, log, draw and resume."""

import argparse
import contextlib
import inspect
import math
import os
import sys
from typing import NamedTuple

from .. import checkpoint, data, model
from .._support import cli, signals
from .._support.errors import InputError
from ..data import recorded
from . import SGD, Epoch, distributed, fit, published, record


def _default(function, name):
    return inspect.signature(function).parameters[name].default


class Settings(NamedTuple):
    """What a run's result depends on, all of which is in a saved model's metadata."""

    dataset: str = _default(data.load, "dataset")
    epochs: int = _default(fit, "epochs")
    batch_size: int = _default(data.load, "batch_size")
    learning_rate: float = _default(fit, "learning_rate")
    num_hidden: int = _default(model.init_params, "num_hidden")
    weight_scale: float = _default(model.init_params, "weight_scale")
    seed: int = _default(data.load, "seed")


DEFAULTS = Settings()
NUMBERS = {  # as functions of what was typed
    "epochs": cli.number(1, 10**6, int), "batch_size": cli.number(1, 10**6, int),
    "learning_rate": cli.number(1e-12, 1e6), "num_hidden": cli.number(1, 16384, int),
    "weight_scale": cli.number(0, 1e6), "seed": cli.number(0, 2**32 - 1, int),
}


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.train",
        description="Train the chapter's multilayer perceptron. The defaults are the chapter's.",
    )

    def add(name, text, **options):
        parser.add_argument(name, help=text, **options)

    def add_setting(name, text, **options):
        add(f"--{name.replace('_', '-')}", f"{text} (default: {getattr(DEFAULTS, name)})",
            type=NUMBERS.get(name), **options)

    parser.add_shared("--ctx")
    add_setting("dataset", "mnist; glyphs (digits drawn from fonts); idx (four files in MNIST's "
                "format, in --data-dir); or auto (MNIST if available, else glyphs)",
                choices=data.DATASETS)
    parser.add_shared("--data-dir")
    add_setting("epochs", "passes over the training data", metavar="N")
    add_setting("batch_size", "examples per step", metavar="N")
    add_setting("learning_rate", "step size", metavar="X")
    add_setting("num_hidden", "units in each of the two hidden layers", metavar="N")
    add_setting("weight_scale", "standard deviation of the initial parameters", metavar="X")
    add_setting("seed", "seed for the initial parameters and for shuffling",
                metavar="N")
    add("--save", "file for the model, .npz, saved after every epoch", type=cli.path,
        metavar="PATH")
    add("--resume", "saved model to continue from, and to overwrite unless --save is given; its "
        "settings replace the defaults", type=cli.path, metavar="PATH")
    add("--log", "file to append one JSON line per epoch to", type=cli.path, metavar="PATH")
    add("--plot", "file for the learning curves, .png, .svg or .pdf", type=cli.path,
        metavar="PATH")
    return parser


def _saved_run(path, metadata):
    """The settings and the history that a saved model's metadata have, if all of it is valid."""
    settings, history = Settings(*map(metadata.get, Settings._fields)), metadata.get("history")
    if not (isinstance(settings.dataset, str) and settings.dataset
            and all(_is_accepted(name, getattr(settings, name)) for name in NUMBERS)
            and isinstance(history, list) and history
            and all(_is_record(one, epoch) for epoch, one in enumerate(history))):
        raise InputError(f"--resume {path}: expected a model saved by python -m mlp_mx.train "
                         "--save, found one without a valid record of its run; use another model")
    return settings, history


def _is_accepted(name, value):
    """Whether this, from a file, is a number that the option of that name takes, too."""
    try:
        return (type(value) is type(getattr(DEFAULTS, name))
                and NUMBERS[name](repr(value)) == value)
    except argparse.ArgumentTypeError:
        return False


def _is_record(record, epoch):
    """Whether this, from a file, is the record of that epoch: finite numbers with their names."""
    return (isinstance(record, dict) and set(record) == set(Epoch._fields)
            and all(type(number) in (int, float) and abs(number) < 1e300
                    for number in record.values())
            and type(record["epoch"]) is int and record["epoch"] == epoch)


def _check_same(path, saved, given):
    """Raise an `InputError` unless the options that are given are those of the saved run."""
    same = {**saved._asdict(), "dataset": recorded.choice(saved.dataset), "epochs": None}
    for name, value in given.items():
        if same[name] not in (None, value):
            raise InputError(f"--{name.replace('_', '-')} is {value}, but {path} was trained with "
                             f"{getattr(saved, name)}; omit the option or train a new model")


def _resumed(path, given, ctx):
    """The settings, the history and the parameters of a saved run that is to be continued."""
    params, metadata = checkpoint.load(path, ctx)
    saved, history = _saved_run(path, metadata)
    _check_same(path, saved, given)
    settings = saved._replace(epochs=given.get("epochs", saved.epochs))
    if settings.epochs < len(history):
        raise InputError(f"--epochs is {settings.epochs}, but {path} has been trained for "
                         f"{len(history)} epochs; ask for at least as many")
    if [param.shape for param in params] != model.shapes(
            params[0].shape[0], settings.num_hidden, params[-1].size):
        raise InputError(f"--resume {path}: expected the shapes of a network with "
                         f"{settings.num_hidden} hidden units, found others; use another model")
    return settings, history, params


def _start(args, ctx, progress):
    """The settings, the history and the parameters to start from, and the data."""
    given = {name: getattr(args, name) for name in Settings._fields
             if getattr(args, name) is not None}
    settings, history, params = (
        (Settings(**given), [], None) if args.resume is None else
        _resumed(args.resume, given, ctx))
    if args.save and not history and os.path.exists(args.save):
        print(cli.printable(f"{args.save} will be replaced after the first epoch"), flush=True)
    load = data.load if args.resume is None else recorded.load_again
    train_data, test_data = load(
        settings.dataset, args.data_dir, batch_size=settings.batch_size, seed=settings.seed,
        ctx=ctx, progress=progress)
    if params is None:
        params = model.init_params(
            math.prod(train_data.data.shape[1:]), settings.num_hidden, train_data.num_outputs,
            settings.weight_scale, settings.seed, ctx)
    else:
        recorded.check_fits(f"--resume {args.resume}", params, train_data)
    return settings._replace(dataset=train_data.name), history, params, train_data, test_data


def _records(params, train_data, test_data, settings, history, workers):
    """Train; yield a record after each epoch."""
    workers.check_consistent((settings, history), params)
    parts = workers.part(train_data), workers.part(test_data)
    epochs = fit(params, *parts, settings.epochs, settings.learning_rate,
                 update=workers.synchronised(SGD), start_epoch=len(history),
                 progress=workers.rank == 0)
    return workers.combined(epochs, *parts)


def _follow(records, recorder):
    """Record and print each epoch."""
    try:
        for epoch in records:
            recorder.write(epoch._asdict())
            print(f"Epoch {epoch.epoch}. Loss: {epoch.loss:.5f}, "
                  f"Train_acc {epoch.train_accuracy:.5f}, Test_acc {epoch.test_accuracy:.4f}",
                  flush=True)
    except signals.Stopped as stop:
        saved = recorder.model
        kept = "no model is saved" if saved.epoch is None else (
            f"the model after epoch {saved.epoch} is saved as {saved.path}")
        raise signals.Stopped(stop.signum, f"stopped in epoch {len(recorder.history)}, which was "
                              f"discarded; {kept}") from None


def _summary(epoch, name):
    """Return the run's result in one line, with the published one if it can be compared."""
    line = f"{name} test accuracy after epoch {epoch['epoch']}: {epoch['test_accuracy']:.4f}"
    if name != "MNIST":
        return f"{line} (not MNIST: no published accuracy to compare)"
    _, accuracies = published.after(epoch["epoch"])
    return f"{line} (published for the chapter's settings: {accuracies})"


def _run(args, ctx, workers):
    """Train as the command line says, on a device of this worker."""
    if args.resume and not args.save and not args.resume.lower().endswith(".npz"):
        raise InputError(f"--resume {args.resume}: models are saved as .npz; name a file with "
                         "--save")
    is_first = workers.rank == 0  # the one that prints, saves, logs and draws
    files = (args.save or args.resume, args.log, args.plot) if is_first else ()
    record.check(*files)
    settings, history, params, train_data, test_data = _start(args, ctx, is_first)
    name = cli.printable(train_data.name)
    print(f"{name}: {train_data.num_examples} training and {test_data.num_examples} test "
          f"examples, on {ctx}"
          + (f", in each of {workers.num_workers} workers" if workers.num_workers > 1 else ""),
          flush=True)
    recorder = record.Recorder(
        params, settings._asdict(), history, *files, classes=train_data.classes)
    if len(history) == settings.epochs:
        print(f"all {settings.epochs} epochs are done; to continue, give a larger --epochs")
    with signals.deferred():
        _follow(_records(params, train_data, test_data, settings, history, workers), recorder)
    print(_summary(recorder.history[-1], name))
    recorder.finish()
    if recorder.model.path:
        print(cli.printable(f"saved as {recorder.model.path}"), flush=True)


@cli.command
def main(argv=None):
    """Train as the command line says, and print one line per epoch."""
    args = _parser().parse_args(argv)
    cli.check_different(args, "--save", "--log", "--plot")
    ctx = distributed.context(args.ctx)
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(distributed.join(ctx))
        if workers.rank > 0:
            stack.enter_context(contextlib.redirect_stdout(None))
        _run(args, ctx, workers)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m mlp_mx.train``: the chapter's run, saved, logged, drawn and resumed."""

import contextlib
import inspect
import math
import os
import sys

from . import Epoch, fit, published
from .. import InputError, checkpoint, data, model, runtime
from .._support import cli, signals
from .distributed import join
from .record import Recorder

MAX_EPOCHS = 10**6
# What a model remembers of its run, and the functions whose arguments, and defaults, these are.
SETTINGS = {
    "batch_size": data.load, "learning_rate": fit, "num_hidden": model.init_params,
    "weight_scale": model.init_params, "seed": data.load, "epochs": fit,
}
DEFAULTS = {"dataset": "auto", **{
    name: inspect.signature(function).parameters[name].default
    for name, function in SETTINGS.items()}}


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.train",
        description="Train the chapter's multilayer perceptron. The defaults are the chapter's.",
    )

    def add(name, text, **options):
        default = DEFAULTS.get(name.strip("-").replace("-", "_"))
        text += "" if default is None else f" (default: {default})"
        parser.add_argument(name, help=text, **options)

    add("--ctx", "device: auto, cpu, gpu or gpu:N; several, such as gpu:0,gpu:1, share each batch",
        default="auto", metavar="NAME")
    add("--dataset", "mnist; glyphs (digits drawn from fonts); or auto (MNIST if available, else "
        "glyphs)", choices=data.DATASETS)
    add("--data-dir", "folder for the data set", type=cli.path, metavar="DIR")
    add("--epochs", "passes over the training data", type=cli.integer(1, MAX_EPOCHS), metavar="N")
    add("--batch-size", "examples per step", type=cli.integer(1, 10**6), metavar="N")
    add("--learning-rate", "step size", type=cli.number(1e-12, 1e6), metavar="X")
    add("--num-hidden", "units in each of the two hidden layers", type=cli.integer(1, 16384),
        metavar="N")
    add("--weight-scale", "standard deviation of the initial parameters", type=cli.number(0, 1e6),
        metavar="X")
    add("--seed", "seed for the initial parameters and the order of the examples",
        type=cli.integer(0, 2**32 - 1), metavar="N")
    add("--save", "file for the model, .npz or .params, saved after every epoch", type=cli.path,
        metavar="PATH")
    add("--resume", "saved model to continue from, and to overwrite unless --save is given; its "
        "settings replace the defaults", type=cli.path, metavar="PATH")
    add("--log", "file to append one JSON line per epoch to", type=cli.path, metavar="PATH")
    add("--plot", "file for the learning curves, .png, .svg or .pdf", type=cli.path,
        metavar="PATH")
    return parser


def _resumed(args, ctx):
    """The parameters and the history of the saved run, whose settings complete `args`."""
    params, saved = checkpoint.load(args.resume, ctx)
    history = _checked_history(args.resume, saved)
    saved["dataset"] = saved["dataset"].lower()
    for name in DEFAULTS:
        given = getattr(args, name)
        if given is None:
            setattr(args, name, saved[name])
        elif given != saved[name] and name != "epochs":
            raise InputError(f"--{name.replace('_', '-')} is {given}, but {args.resume} was "
                             f"trained with {saved[name]}; leave the option out or train a new "
                             "model")
    if [param.shape for param in params] != model.shapes(num_hidden=args.num_hidden):
        raise InputError(f"--resume {args.resume}: its parameters do not have the shapes of a "
                         f"network with {args.num_hidden} hidden units; use another model")
    if args.epochs < len(history):
        raise InputError(f"--epochs is {args.epochs}, but {args.resume} has been trained for "
                         f"{len(history)} epochs; ask for at least as many")
    args.save = args.save or args.resume
    return params, history


def _checked_history(path, saved):
    """The records of a saved run's epochs, if all that training will rely on is valid."""
    types = {action.dest: action.type for action in _parser()._actions}
    try:
        epochs = [Epoch(**record) for record in saved["history"]]
        numbers = [number for epoch in epochs for number in epoch]
        if (epochs and [epoch.epoch for epoch in epochs] == [*range(len(epochs))]
                and all(type(epoch.epoch) is int for epoch in epochs)
                and all(type(number) in (int, float) and math.isfinite(number)
                        for number in numbers)
                and all(types[name](str(saved[name])) == saved[name] for name in SETTINGS)
                and saved["dataset"].lower() in data.DATASETS[1:]):
            return saved["history"]
    except Exception:  # whatever a crafted file can raise
        pass
    raise InputError(f"--resume {path}: expected a model saved by python -m mlp_mx.train --save, "
                     "found one without a valid record of its run; use another model")


def _start(args, ctx):
    """The parameters to start from, and the records of the epochs before."""
    if args.resume is not None:
        return _resumed(args, ctx)
    for name, default in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    return model.init_params(num_hidden=args.num_hidden, weight_scale=args.weight_scale,
                             seed=args.seed, ctx=ctx), []


def _follow(records, recorder, first):
    """Record and print each epoch."""
    epoch = first
    try:
        for record in records:
            recorder.epoch(record._asdict())
            print(f"Epoch {record.epoch}. Loss: {record.loss:.5f}, "
                  f"Train_acc {record.train_accuracy:.5f}, Test_acc {record.test_accuracy:.4f}",
                  flush=True)
            epoch = record.epoch + 1
    except signals.Stopped as stop:
        kept = (f"the model after epoch {epoch - 1} is saved as {_place(recorder)}"
                if recorder.saved else "no model is saved")
        raise signals.Stopped(stop.signum, f"epoch {epoch} is lost; {kept}") from None


def _place(recorder):
    """Where the model is saved, with the host if `mlp_mx.launch` has started this one there."""
    host = os.environ.get("MLP_MX_HOST")
    return f"{recorder.saved} on {host}" if host else recorder.saved


def _summary(record, name):
    """The run's result in one line, beside the published one where that can be compared."""
    line = f"{name} test accuracy after epoch {record['epoch']}: {record['test_accuracy']:.4f}"
    if name != "MNIST":
        return f"{line} (not MNIST: no published accuracy to compare)"
    epoch = min(record["epoch"], len(published.RUNS[0]) - 1)
    accuracies = " and ".join(f"{run[epoch][2]:.4f}" for run in published.RUNS)
    return f"{line} (published for the chapter's settings: {accuracies})"


def _run(args, devices, workers):
    """Train as the command line says, on these devices of this worker."""
    is_first = workers.rank == 0  # the one that prints, saves, logs and draws
    params, history = _start(args, devices[0])
    recorder = Recorder(args.save, args.log, args.plot) if is_first else Recorder()
    if args.save and not history and os.path.exists(args.save):
        print(f"{args.save} will be replaced after the first epoch", flush=True)
    train_data, test_data = data.load(
        args.dataset, args.data_dir, args.batch_size, args.seed, devices[0], is_first)
    settings = {**{name: getattr(args, name) for name in SETTINGS}, "dataset": train_data.name}
    workers.check_consistent((settings, history), params)
    print(f"{train_data.name}: {train_data.num_examples} training and {test_data.num_examples} "
          f"test examples, on {', '.join(map(str, devices))}"
          + (f", in each of {workers.num_workers} workers" if workers.num_workers > 1 else ""),
          flush=True)
    recorder.begin(params, settings, history)
    if len(history) == args.epochs:
        print(f"all {args.epochs} epochs are done; to continue, give a larger --epochs")
    records = fit(params, train_data, test_data, args.epochs, args.learning_rate,
                  start_epoch=len(history), progress=is_first, workers=workers)
    with signals.deferred():
        _follow(records, recorder, len(history))
    print(_summary(recorder.history[-1], train_data.name))
    if recorder.saved:
        print(f"saved as {_place(recorder)}", flush=True)
    recorder.finish()


@cli.command
def main(argv=None):
    """Train as the command line says, and print one line per epoch."""
    args = _parser().parse_args(argv)
    cli.check_different(args, "--save", "--log", "--plot")
    devices = runtime.contexts(args.ctx)
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(join(devices))
        if workers.rank > 0:
            stack.enter_context(contextlib.redirect_stdout(None))
        _run(args, devices, workers)


if __name__ == "__main__":
    sys.exit(main())

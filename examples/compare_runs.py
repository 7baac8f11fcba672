"""Compare training runs in one figure: a line for each setting, averaged over its seeds.

Log some runs first, in one file or several:

    python -m mlp_mx.train --learning-rate 0.001 --log runs.jsonl
    python -m mlp_mx.train --learning-rate 0.0001 --log runs.jsonl
    python examples/compare_runs.py runs.jsonl --out comparison.png
"""

import argparse
import os
import sys
from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from mlp_mx import Error, InputError, plot
from mlp_mx.train import record as run_record

RESULTS = ("epoch", "loss", "train_accuracy", "test_accuracy", "seconds")
NOT_SETTINGS = (*RESULTS, "epochs")  # a run may be resumed with more epochs
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#999999")


def read_runs(paths):
    """The runs of all logs: {settings: {epoch: (loss, test accuracy)}}.

    Lines with the same settings belong to one run, even if it was resumed. If an epoch was logged
    twice, the last line counts.
    """
    runs = defaultdict(dict)
    for path in paths:
        for record in run_record.read(path):
            if not all(isinstance(record.get(name), (int, float)) for name in RESULTS):
                raise InputError(f"{path}: expected a log of mlp_mx.train, each line with "
                                 f"{', '.join(RESULTS)}")
            settings = tuple((name, str(value)) for name, value in sorted(record.items())
                             if name not in NOT_SETTINGS)
            runs[settings][record["epoch"]] = record["loss"], record["test_accuracy"]
    if not runs:
        raise InputError(f"no epochs in {', '.join(paths)}; train with --log first")
    return runs


def by_setting(runs):
    """Group runs that differ only in their seeds: (names, {values: (epochs, results)}).

    Names and values are those of the settings that differ. The epochs are those reached with every
    seed; results have the shape (seeds, epochs, 2), a loss and a test accuracy each.
    """
    values = defaultdict(set)
    for settings in runs:
        for name, value in settings:
            values[name].add(value)
    names = sorted(name for name in values if len(values[name]) > 1 and name != "seed")
    groups = defaultdict(list)
    for settings, epochs in runs.items():
        settings = dict(settings)
        groups[tuple(settings.get(name, "–") for name in names)].append(epochs)
    for setting, group in groups.items():
        epochs = sorted(set.intersection(*map(set, group)))
        if not epochs:
            raise InputError(f"{text(names, setting)}: expected epochs that all seeds have in "
                             "common, found none")
        groups[setting] = epochs, np.array([[run[epoch] for epoch in epochs] for run in group])
    return names, groups


def text(names, setting):
    """A setting in words, such as "batch size 64, learning rate 0.001"."""
    pairs = [f"{name.replace('_', ' ')} {value}" for name, value in zip(names, setting)]
    return ", ".join(pairs) or "all runs"


def draw(names, groups):
    """Draw loss and test accuracy by epoch: a line per setting, a band from seed to seed."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, (setting, (epochs, results)) in enumerate(groups.items()):
        color = COLORS[number % len(COLORS)]
        style = ("-", "--", ":")[number // len(COLORS) % 3]
        for axes, values in zip(panels, results.transpose(2, 0, 1)):
            axes.plot(epochs, values.mean(axis=0), style, color=color, label=", ".join(setting),
                      marker="o", markersize=4)
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color,
                              alpha=0.2, linewidth=0)
    plot.finish(panels[0], "training loss (nats per example)", "log")
    plot.finish(panels[1], "test accuracy", "percent")
    if names:  # beside the axes, whatever the number of settings and the length of their names
        figure.legend(*panels[0].get_legend_handles_labels(),
                      title=", ".join(names).replace("_", " "), frameon=False,
                      loc="outside right upper", alignment="left")
    return figure


def main(argv=None):
    """Read, draw, and print each setting's last test accuracy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", help="files written by mlp_mx.train --log")
    parser.add_argument("--out", metavar="PATH", default="comparison.png",
                        help="picture to write, .png, .svg or .pdf (default: comparison.png)")
    args = parser.parse_args(argv)
    plot.check_path(args.out)
    if os.path.realpath(args.out) in map(os.path.realpath, args.logs):
        raise InputError(f"--out would overwrite the log {args.out}; name another file")
    names, groups = by_setting(read_runs(args.logs))
    for setting, (epochs, results) in groups.items():
        print(f"{text(names, setting)}: test accuracy "
              f"{100 * results[:, -1, 1].mean():.2f}% after epoch {epochs[-1]}, "
              f"{len(results)} seed{'s' * (len(results) > 1)}")
    plot.save(draw(names, groups), args.out)
    print("saved:", args.out)


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)

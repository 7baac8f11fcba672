"""``python -m mlp_mx.evaluate``: compare a saved model's accuracy with the recorded one."""

import sys

from .. import checkpoint, data, runtime
from .._support import cli
from .._support.errors import Error
from ..data import recorded
from ..predict import relu_net
from ..train import evaluate_accuracy, published

# Another CPU rounds differently, which can change the prediction for an image in 10 000.
TOLERANCE = 1.5e-4


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.evaluate",
        description="Compare a saved model's accuracy on training and test data with what was "
        "recorded when it was saved, and with the published accuracy. Exit code 1: it differs from "
        "the recorded accuracy by more than 1 image in 10 000.",
    )
    parser.add_shared("model", "--ctx")
    parser.add_argument("--dataset", choices=data.DATASETS,
                        help="data set (default: the one that the model was trained on)")
    parser.add_shared("--data-dir")
    return parser


def _compare(part, measured, saved, published_accuracy):
    """Print an accuracy and those to compare it with; say what is wrong with it, or None."""
    is_recorded = type(saved) in (int, float) and 0 <= saved <= 1
    others = [f"recorded: {saved:.5f}" if is_recorded else "none recorded"]
    if published_accuracy:
        others.append(f"published for the chapter's settings: {published_accuracy}")
    print(f"{part + ' accuracy:':<18} {measured:.5f} ({'; '.join(others)})", flush=True)
    if is_recorded and not abs(measured - saved) <= TOLERANCE:
        return f"its {part} accuracy is {measured:.5f}, but {saved:.5f} is recorded"
    return None


@cli.command
def main(argv=None):
    """Print both accuracies; fail if they differ from the recorded ones."""
    args = _parser().parse_args(argv)
    ctx = runtime.context(args.ctx)
    params, metadata = checkpoint.load(args.model, ctx)
    loaders = recorded.load(recorded.name_in(metadata), args.dataset, args.data_dir, ctx=ctx,
                            progress=True)
    recorded.check_fits(args.model, params, loaders[0])
    name = loaders[0].name
    print(f"{cli.printable(name)}: {loaders[0].num_examples} training and "
          f"{loaders[1].num_examples} test examples, on {ctx}", flush=True)
    saved = metadata if metadata.get("dataset") == name else {}
    epoch = saved.get("epoch")
    epoch = epoch if type(epoch) is int and epoch >= 0 else 9
    others = published.after(epoch) if name == "MNIST" else (None, None)
    problems = [_compare(part, evaluate_accuracy(loader, params, relu_net), saved.get(key), other)
                for part, key, loader, other in zip(
                    ("training", "test"), ("train_accuracy", "test_accuracy"), loaders, others)]
    if any(problems):
        raise Error(f"{args.model}: {' and '.join(filter(None, problems))}; the file, the data set "
                    "or the software has changed")


if __name__ == "__main__":
    sys.exit(main())

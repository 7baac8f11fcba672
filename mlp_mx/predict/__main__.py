"""``python -m mlp_mx.predict``: predictions for pictures and for test digits."""

import json
import os
import sys
import warnings

import mlp_mx  # whose modules are imported when they are first used: --help needs few of them

from . import probabilities
from .. import InputError, data
from .._support import cli
from .._support.progress import steps
from ..runtime.lazy import nd

SAMPLES, SEED = 10, 0  # the defaults, unless there are pictures
PICTURE_SIDE = 600  # pixels of a user's picture that are kept for the figure


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.predict",
        description="Read digits from pictures or, without any, from random test images, as at the "
        "end of the chapter. Exit code 2: no picture could be used; 1: some could not.",
    )
    add = parser.add_argument
    add("model", type=cli.path, metavar="MODEL", help="saved network, .npz or .params")
    add("image", type=cli.path, metavar="IMAGE", nargs="*", default=[],
        help="picture of one digit, dark on light or light on dark; without any, random test "
        "digits are used")
    add("--ctx", default="auto", metavar="NAME", help="device: auto, cpu, gpu or gpu:N")
    add("--samples", type=cli.integer(1, 10000), metavar="N",
        help=f"number of test digits (default: {SAMPLES})")
    add("--seed", type=cli.integer(0, 2**32 - 1), metavar="N",
        help=f"seed for choosing the test digits (default: {SEED})")
    add("--dataset", choices=data.DATASETS,
        help="data set of the test digits (default: the one that the model was trained on)")
    add("--data-dir", type=cli.path, metavar="DIR", help="folder for the data set")
    add("--json", action="store_true", help="print one line of JSON per digit")
    add("--plot", type=cli.path, metavar="PATH", help="file for a figure of the predictions, .png, "
        ".svg or .pdf; each picture appears beside the 28 x 28 input made from it")
    return parser


def _check(args):
    """Refuse options that make no sense together, and a figure that cannot be written."""
    for option in ("samples", "seed", "dataset", "data_dir"):
        if args.image and getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} applies to test digits only; omit "
                             "it, or the pictures")
    if args.plot is not None:
        cli.check_different(args, "--plot", "IMAGE")
        mlp_mx.plot.check_path(args.plot)
        mlp_mx.plot.check_count(len(args.image) or args.samples or SAMPLES)


def _load_network(path, ctx):
    """The parameters, and the name of the data set that they were trained on, or None."""
    params, metadata = mlp_mx.checkpoint.load(path, ctx)
    sizes = [params[0].shape[0], *(bias.size for bias in params[1::2])]
    if (sizes[0], len(sizes), sizes[-1]) != (784, 4, 10):
        raise InputError(f"{path}: expected the chapter's network (784 inputs, two hidden layers, "
                         f"10 outputs), found {'-'.join(map(str, sizes))}; use a model saved by "
                         "python -m mlp_mx.train, or mlp_mx.model.predict with net=…")
    name = metadata.get("dataset")
    return params, name if name in ("MNIST", "glyphs") else None


def _result(row):
    """The prediction for one digit, from its row of probabilities."""
    row = row.tolist()
    digit, runner_up, *_ = sorted(range(len(row)), key=lambda number: -row[number])
    return {"digit": digit, "probability": row[digit], "runner_up": runner_up,
            "runner_up_probability": row[runner_up], "probabilities": row}


def _predict_test_digits(args, params, dataset):
    """Print predictions and labels of random test digits, and draw them if asked to."""
    import numpy as np

    choice = args.dataset or (dataset or "auto").lower()
    test_data = data.load(choice, args.data_dir, ctx=params[0].context, progress=True)[1]
    order = np.random.RandomState(args.seed or SEED).permutation(test_data.num_examples)
    chosen = nd.array(order[:args.samples or SAMPLES], params[0].context, dtype="int32")
    X = nd.take(test_data.data, chosen)
    labels = nd.take(test_data.label, chosen).asnumpy().astype(int)
    results = [_result(row) for row in probabilities(X, params)]
    digits = [result["digit"] for result in results]
    if args.json:
        for index, label, result in zip(order.tolist(), labels.tolist(), results):
            print(json.dumps({"dataset": test_data.name, "index": index, "label": label, **result}))
    else:
        print(f"{len(labels)} of {test_data.num_examples} {test_data.name} test digits; model "
              f"trained on: {dataset or 'unknown'}")
        print("model predictions are:", *digits)
        print("true labels :         ", *labels)
    if args.plot is not None:
        mlp_mx.plot.save(mlp_mx.plot.strip(X.asnumpy()[..., 0], digits, labels), args.plot)


def _printable(text):
    return text if text.isprintable() else ascii(text)


def _predict_pictures(args, params, dataset):
    """Print a prediction for each picture, and draw them if asked to; return the exit code."""
    from . import images

    width = max(len(_printable(path)) for path in args.image)
    drawn = []
    for path in steps(args.image, show=False):
        try:
            picture = images.read(path)
            digit = images.to_mnist(picture)
        except images.ImageError as error:
            message = f"{_printable(path)}: {str(error).removeprefix(f'{path}: ')}"
            cli.complain(f"error: {message}")
            if args.json:
                print(json.dumps({"file": path, "error": message}), flush=True)
            continue
        if dataset != "MNIST" and not drawn:
            warnings.warn(f"{args.model} was not trained on MNIST (training data set: "
                          f"{dataset or 'unknown'}) and may misread handwriting", stacklevel=3)
        result = _result(probabilities(digit[None] / 255, params)[0])
        print(json.dumps({"file": path, "dataset": dataset, **result}) if args.json else
              f"{_printable(path):<{width}}  {result['digit']}  {result['probability']:.4f}  "
              f"{result['runner_up']}  {result['runner_up_probability']:.4f}", flush=True)
        step = -(-max(picture.shape) // PICTURE_SIDE)
        caption = f"{_printable(os.path.basename(path))}\n{result['digit']} " \
                  f"({result['probability']:.2f})"
        drawn.append((picture[::step, ::step].copy(), digit, caption))  # and not the whole picture
    if drawn and args.plot is not None:
        mlp_mx.plot.save(mlp_mx.plot.inputs(*zip(*drawn)), args.plot)
    return 0 if len(drawn) == len(args.image) else 1 if drawn else 2


@cli.command
def main(argv=None):
    """Predict the digits in the pictures that the command line names, or test digits."""
    args = _parser().parse_intermixed_args(argv)  # options may stand between the pictures
    _check(args)
    params, dataset = _load_network(args.model, mlp_mx.runtime.context(args.ctx))
    predict = _predict_pictures if args.image else _predict_test_digits
    return predict(args, params, dataset)


if __name__ == "__main__":
    sys.exit(main())

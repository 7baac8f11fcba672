"""``python -m mlp_mx.predict``: predictions for pictures and for test digits."""

import json
import os
import sys
import warnings

import numpy as np

from .. import checkpoint, data, plot, runtime
from .._support import cli
from .._support.errors import InputError
from .._support.progress import steps
from ..data import recorded
from ..runtime.lazy import nd
from . import images, probabilities, read

SAMPLES, SEED = 10, 0  # the defaults, unless there are pictures
PICTURE_SIDE = 600  # pixels of a user's picture that are kept for the figure


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.predict",
        description="Read digits from pictures or, without any, from random test images, as at the "
        "end of the chapter. The network may have any number of layers, with ReLU between them. "
        "Exit code 2: no picture could be used; 1: some could not.",
    )
    add = parser.add_argument
    parser.add_shared("model")
    add("image", type=cli.path, metavar="IMAGE", nargs="*", default=[],
        help="picture of one digit, dark on light or light on dark (default: random test images)")
    parser.add_shared("--ctx")
    add("--samples", type=cli.number(1, 10000, int), metavar="N",
        help=f"number of test images (default: {SAMPLES})")
    add("--seed", type=cli.number(0, 2**32 - 1, int), metavar="N",
        help=f"seed for choosing the test images (default: {SEED})")
    add("--dataset", choices=data.DATASETS,
        help="data set of the test images (default: the one that the model was trained on)")
    parser.add_shared("--data-dir")
    add("--json", action="store_true", help="print one line of JSON per digit")
    add("--plot", type=cli.path, metavar="PATH", help="file for a figure of the predictions, .png, "
        ".svg or .pdf; each picture appears beside the 28 x 28 input made from it")
    return parser


def _check(args):
    """Reject options that make no sense together, and a figure that cannot be written."""
    for option in ("samples", "seed", "dataset", "data_dir"):
        if args.image and getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} applies to test images only; omit "
                             "it, or the pictures")
    if args.plot is not None:
        cli.check_different(args, "--plot", "IMAGE")
        plot.check_path(args.plot)
        plot.check_count(len(args.image) or args.samples or SAMPLES)


def _load_network(path, ctx):
    """The parameters, and the metadata that say what they were trained on."""
    params, metadata = checkpoint.load(path, ctx)
    num_outputs, classes = params[-1].size, metadata.get("classes")
    if num_outputs < 2:
        raise InputError(f"{path}: expected a network with 2 or more outputs, found {num_outputs}")
    if not (isinstance(classes, list) and len(classes) == num_outputs
            and all(isinstance(name, str) for name in classes)):
        classes = None
    return params, recorded.name_in(metadata), classes


def _result(probabilities, classes):
    """The prediction for one digit, from its row of probabilities."""
    row = probabilities.tolist()
    digit, runner_up, *_ = sorted(range(len(row)), key=lambda number: -row[number])
    names = {"class": classes[digit], "runner_up_class": classes[runner_up]} if classes else {}
    return {"digit": digit, "probability": row[digit], "runner_up": runner_up,
            "runner_up_probability": row[runner_up], "probabilities": row, **names}


def _name(number, classes):
    return cli.printable(classes[number]) if classes else str(number)


def _predict_test_digits(args, params, dataset, classes):
    """Print predictions and labels of random test digits, and draw them if asked to."""
    _, test_data = recorded.load(dataset, args.dataset, args.data_dir, ctx=params[0].context,
                                 progress=True)
    recorded.check_fits(args.model, params, test_data, or_more=True)
    if test_data.num_outputs == params[-1].size:  # else a prediction may have no name
        classes = classes or test_data.classes
    order = np.random.RandomState(args.seed or SEED).permutation(test_data.num_examples)
    chosen = nd.array(order[:args.samples or SAMPLES], params[0].context, dtype="int32")
    X = nd.take(test_data.data, chosen)
    labels = nd.take(test_data.label, chosen).asnumpy().astype(int).tolist()
    results = [_result(row, classes) for row in probabilities(X, params)]
    digits = [result["digit"] for result in results]
    if args.json:
        for index, label, result in zip(order.tolist(), labels, results):
            print(json.dumps({"dataset": test_data.name, "index": index, "label": label, **result}))
    else:
        print(f"{len(labels)} of {test_data.num_examples} {cli.printable(test_data.name)} test "
              f"images; model trained on: {cli.printable(dataset or 'unknown')}")
        between = ", " if classes else " "
        print("model predictions are:", between.join(_name(one, classes) for one in digits))
        print("true labels :         ", between.join(_name(one, classes) for one in labels))
    if args.plot is not None:
        pixels = X.asnumpy().reshape(X.shape[:3])
        names = classes and [cli.printable(name) for name in classes]
        plot.save(plot.strip(pixels, digits, labels, names), args.plot)


def _predict_pictures(args, params, dataset, classes):
    """Print a prediction for each picture, and draw them if asked to; return the exit code."""
    if params[0].shape[0] != 28 * 28:
        raise InputError(f"{args.model}: expected 784 inputs, for pictures of 28 x 28 pixels, "
                         f"found {params[0].shape[0]}; without pictures, test images are used")
    drawn, num_read = [], 0
    for path in steps(args.image, show=False):
        picture, reading, problem = _try_to_read(path, params)
        if reading is None:
            image, caption = None, problem
            _print_problem(path, problem, args.json)
        else:
            if dataset != "MNIST" and not num_read:
                warnings.warn(f"{args.model} was not trained on MNIST (training data set: "
                              f"{dataset or 'unknown'}) and may misread handwriting", stacklevel=3)
            num_read += 1
            image = reading.image
            result = _result(reading.probabilities, classes)
            caption = "{} ({:.1%}), or {} ({:.1%})".format(
                _name(result["digit"], classes), result["probability"],
                _name(result["runner_up"], classes), result["runner_up_probability"])
            _print_reading(path, {"dataset": dataset, **result}, args, classes)
        if args.plot is not None:
            name = cli.printable(os.path.basename(path))
            drawn.append((_small(picture), image, f"{name}\n{caption}"))
    if drawn:
        plot.save(plot.inputs(*zip(*drawn)), args.plot)
    return 0 if num_read == len(args.image) else 1 if num_read else 2


def _small(picture):
    """Return a small copy of a picture for the figure, so that whole pictures are not kept."""
    if picture is None:
        return None
    step = -(-max(picture.shape) // PICTURE_SIDE)
    return picture[::step, ::step].copy()


def _try_to_read(path, params):
    """A file's picture, or None, and what is read in it, or None and why not."""
    picture = None
    try:
        picture = images.read(path)
        return picture, read(picture, params), None
    except images.ImageError as error:
        return picture, None, str(error).removeprefix(f"{path}: ")


def _print_problem(path, problem, as_json):
    cli.complain(f"error: {path}: {problem}")
    if as_json:
        print(json.dumps({"file": path, "error": f"{path}: {problem}"}), flush=True)


def _print_reading(path, result, args, classes):
    if args.json:
        print(json.dumps({"file": path, **result}), flush=True)
        return
    width = max(len(cli.printable(path)) for path in args.image)
    names = [_name(result[key], classes) for key in ("digit", "runner_up")]
    print(f"{cli.printable(path):<{width}}  {names[0]}  {result['probability']:.4f}  "
          f"{names[1]}  {result['runner_up_probability']:.4f}", flush=True)


@cli.command
def main(argv=None):
    """Predict the digits in the pictures that the command line names, or test digits."""
    args = _parser().parse_intermixed_args(argv)  # options may stand between the pictures
    _check(args)
    network = _load_network(args.model, runtime.context(args.ctx))
    predict = _predict_pictures if args.image else _predict_test_digits
    return predict(args, *network)


if __name__ == "__main__":
    sys.exit(main())

"""Write an HTML page that reads digits while you draw them, and open it in the browser.

The page contains the network's weights and needs no server, no library and no connection.

    python -m mlp_mx.train --save model.npz
    python examples/draw_digit.py model.npz
"""

import base64
import json
import os
import pathlib
import sys
import webbrowser

import numpy as np

from mlp_mx import InputError, checkpoint
from mlp_mx._support import cli
from mlp_mx._support.files import check_writable, whole_file

TEMPLATE = pathlib.Path(__file__).with_suffix(".html")
PLACE = "NETWORK_GOES_HERE"  # in the template
DATASETS = {"MNIST": "MNIST", "glyphs": "digits drawn from fonts"}


def about(metadata):
    """A sentence on the network's training data set and test accuracy, for the page."""
    dataset, accuracy = metadata.get("dataset"), metadata.get("test_accuracy")
    if dataset not in tuple(DATASETS):  # it may be anything in JSON, even a list
        return "Training data set: unknown."
    text = f"Trained on {DATASETS[dataset]}"
    if isinstance(accuracy, float) and 0 <= accuracy <= 1:
        text += f"; test accuracy {100 * accuracy:.2f}%"
    return f"{text}." if dataset == "MNIST" else f"{text}. It may misread handwriting."


def pack(params):
    """All arrays as 24-bit floats, in base64.

    These are float32 rounded to 16 significant bits. Logits change by about 1e-4; float16, with
    11 bits, would change them by more than 1e-3.
    """
    bits = np.concatenate([param.asnumpy().ravel() for param in params]).view(np.uint32)
    upper = ((bits + 0x80) >> 8).astype("<u4")
    return base64.b64encode(upper.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()).decode()


def page(params, metadata):
    """The page for a network, ``[W1, b1, W2, b2, …]`` with relus between the layers."""
    network = {
        "shapes": [param.shape for param in params],
        "numbers": pack(params),
        "about": about(metadata),
    }
    return TEMPLATE.read_text("utf-8").replace(PLACE, json.dumps(network))


@cli.command
def main(argv=None):
    """Write the page, and open it."""
    parser = cli.ArgumentParser(description=__doc__, formatter_class=cli.RawHelp)
    parser.add_argument("model", type=cli.path, help="saved network, .npz or .params")
    parser.add_argument("--out", type=cli.path, default="draw_digit.html", metavar="FILE",
                        help="page to write, .html (default: draw_digit.html)")
    parser.add_argument("--no-open", action="store_true", help="do not open the page")
    args = parser.parse_args(argv)
    check_writable(args.out, ".html")
    params, metadata = checkpoint.load(args.model)
    sizes = [params[0].shape[0], *(bias.size for bias in params[1::2])]
    if (sizes[0], sizes[-1]) != (784, 10):
        raise InputError(f"{args.model}: expected a network with 784 inputs and 10 outputs, found "
                         f"{'-'.join(map(str, sizes))}; use a model saved by "
                         "python -m mlp_mx.train")
    text = page(params, metadata).encode()
    with whole_file(args.out) as file:
        file.write(text)
    print(f"{args.out}: {len(text) / 1e6:.1f} MB, for any browser")
    if not args.no_open:
        webbrowser.open(pathlib.Path(os.path.realpath(args.out)).as_uri())


if __name__ == "__main__":
    sys.exit(main())

"""Write an HTML page that reads digits while you draw them, and open it in the browser.

The page contains the network's weights and needs no server, no library and no connection.

    python -m mlp_mx.train --save model.npz
    python examples/draw_digit.py model.npz
"""

import argparse
import base64
import json
import pathlib
import sys
import webbrowser

import numpy as np

from mlp_mx import Error, InputError, checkpoint

TEMPLATE = pathlib.Path(__file__).with_suffix(".html")
PLACE = "NETWORK_GOES_HERE"  # in the template


def about(metadata):
    """A sentence on the network's training data set and test accuracy, for the page."""
    dataset, accuracy = metadata.get("dataset"), metadata.get("test_accuracy")
    if not dataset or not isinstance(dataset, str):  # it may be anything in JSON, even a list
        return "Training data set: unknown."
    text = f"Trained on {'digits drawn from fonts' if dataset == 'glyphs' else dataset}"
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
    text = json.dumps(network).replace("<", "\\u003c")  # a name from a file ends no script
    return TEMPLATE.read_text("utf-8").replace(PLACE, text)


def write_page(model, out):
    """Write a saved model's page to a file."""
    if not out.endswith(".html"):
        raise InputError(f"expected a file name that ends in .html, found {out!r}")
    params, metadata = checkpoint.load(model)
    sizes = [params[0].shape[0], *(bias.size for bias in params[1::2])]
    if (sizes[0], sizes[-1]) != (784, 10):
        raise InputError(f"{model}: expected a network with 784 inputs and 10 outputs, found "
                         f"{'-'.join(map(str, sizes))}; use a model saved by "
                         "python -m mlp_mx.train")
    text = page(params, metadata)
    pathlib.Path(out).write_text(text, "utf-8")
    print(f"{out}: {len(text) / 1e6:.1f} MB, for any browser")


def main(argv=None):
    """Write the page, and open it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="saved model, .npz or .params")
    parser.add_argument("--out", default="draw_digit.html", metavar="FILE",
                        help="page to write, .html (default: draw_digit.html)")
    parser.add_argument("--no-open", action="store_true", help="do not open the page")
    args = parser.parse_args(argv)
    try:
        write_page(args.model, args.out)
    except (Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    if not args.no_open:
        webbrowser.open(pathlib.Path(args.out).resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Train on MNIST as the chapter does, and draw the pictures of the README and the docs.

Two are made elsewhere: epoch.png by benchmarks/epoch.py, and draw.png by tests/test_draw_digit.py.
Also writes page/draw_digit.html, the page to draw digits on. Takes about 15 seconds.

    python docs/pictures.py --out docs
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import diagrams  # beside this script
import numpy as np
from matplotlib.image import imsave

from mlp_mx import checkpoint, data, model, plot, train
from mlp_mx.train import published


def draw(records, params, test_data):
    """Yield the file name and the figure of each picture but glyphs.png."""
    epochs, losses, train_accuracies, test_accuracies, _ = zip(*records)
    yield "curves.png", plot.learning_curves(
        epochs, losses, train_accuracies, test_accuracies, published.RUNS
    )
    images = test_data.data.asnumpy()[..., 0]
    labels = test_data.label.asnumpy().astype(int)
    probabilities = model.softmax(model.net(test_data.data, params)).asnumpy()
    predictions = probabilities.argmax(axis=1)
    middle = max(np.flatnonzero(predictions != labels)[0], 5)
    around = slice(middle - 5, middle + 5)  # the first mistake, among ten in a row
    yield "strip.png", plot.strip(images[around], predictions[around], labels[around])
    yield "confusion.png", plot.confusion_matrix(labels, predictions)
    yield "mistakes.png", plot.mistakes(images, labels, predictions, probabilities)
    yield "first_layer.png", plot.first_layer(params[0].asnumpy(), count=32)
    for name, layers in diagrams.DIAGRAMS.items():
        yield f"{name}.png", diagrams.diagram(layers)


def glyphs_sheet():
    """The first 20 glyphs of each digit in a row, at twice their size."""
    train_data, _ = data.load("glyphs", progress=True)
    images, labels = train_data.data.asnumpy()[..., 0], train_data.label.asnumpy()
    rows = [np.hstack(images[labels == digit][:20]) for digit in range(10)]
    return np.vstack(rows).repeat(2, axis=0).repeat(2, axis=1)


def make_page(params, accuracy, path):
    """Write the page to draw digits on, with these parameters in it."""
    script = pathlib.Path(__file__).parents[1] / "examples" / "draw_digit.py"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "model.npz")
        checkpoint.save(saved, params, dataset="MNIST", test_accuracy=accuracy)
        subprocess.run([sys.executable, script, saved, "--no-open", "--out", path], check=True)


def main():
    """Train, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="DIR", default=pathlib.Path(__file__).parent,
                        help="folder for the pictures (default: that of this script)")
    folder = parser.parse_args().out
    imsave(os.path.join(folder, "glyphs.png"), glyphs_sheet(), cmap="gray")
    train_data, test_data = data.load("mnist", seed=0, progress=True)
    params = model.init_params(seed=0)
    records = list(train.fit(params, train_data, test_data, progress=True))
    for name, figure in draw(records, params, test_data):
        path = os.path.join(folder, name)
        plot.save(figure, path)
        print(path)
    page = os.path.join(folder, "page", "draw_digit.html")
    make_page(params, records[-1].test_accuracy, page)


if __name__ == "__main__":
    main()

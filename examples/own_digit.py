"""Show, step by step, how a picture of your own digit becomes the network's input.

Trains briefly first. Without a picture, one is drawn. Shows the steps in a window or, where there
is none, saves them as own_digit.png in the current folder.
Run: python examples/own_digit.py --image photo.jpg --epochs 3
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from mlp_mx import data, model, predict, runtime, train
from mlp_mx._support import cli
from mlp_mx.predict import images


def blue_three():
    """A blue three on grey paper, in light from the right."""
    sheet = Image.linear_gradient("L").rotate(270).resize((400, 300)).point(lambda x: 200 - x // 4)
    sheet = sheet.convert("RGB")
    pen = ImageDraw.Draw(sheet)
    pen.arc((150, 60, 240, 150), 200, 90, "navy", width=12)
    pen.arc((140, 138, 245, 245), 270, 160, "navy", width=12)
    return np.asarray(sheet.convert("L"))


def draw(picture, ink, digit, probabilities):
    """Draw the steps side by side."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3), layout="constrained")
    titles = "picture", "background removed", "28 x 28, as in MNIST"
    for cell, title, image in zip(axes, titles, (picture, ink, digit)):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255)
        cell.set_title(title)
        cell.axis("off")
    axes[3].barh(range(10), probabilities)
    axes[3].set(title="probability", yticks=range(10), xlim=(0, 1))
    return figure


@cli.command
def main(argv=None):
    """Train, take the picture through the steps, and show them."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=cli.integer(1, 1000), default=2)
    parser.add_argument("--image", type=cli.path,
                        help="picture of one digit, dark on light or light on dark")
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", type=cli.path, help="folder for the data set")
    args = parser.parse_args(argv)

    picture = images.read(args.image) if args.image else blue_three()
    ink = images.ink(picture)
    digit = images.to_mnist(picture)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(args.dataset, args.data_dir, ctx=ctx, progress=True)
    params = model.init_params(seed=0, ctx=ctx)
    for record in train.fit(params, train_data, test_data, epochs=args.epochs):
        print(f"Epoch {record.epoch}. Test_acc {record.test_accuracy:.4f}")

    probabilities = predict.probabilities(digit[None] / np.float32(255), params)[0]
    print("model prediction is:", probabilities.argmax())
    figure = draw(picture, ink, digit, probabilities)
    if figure.canvas.required_interactive_framework:
        plt.show()
    else:
        figure.savefig("own_digit.png")
        print("no display; the steps are saved in own_digit.png")


if __name__ == "__main__":
    sys.exit(main())

"""Show, step by step, how a picture of your own digit becomes the network's input.

Trains briefly first. Without --image, draws a picture. Shows the steps in a window or, if there is
no display, saves them as own_digit.png in the current folder.
Run: python examples/own_digit.py --image photo.jpg --epochs 3
"""

import argparse
import sys

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from mlp_mx import Error, data, model, predict, runtime, train
from mlp_mx.predict import images

BLUE, GREY = "#0072B2", "0.75"


def blue_three():
    """A blue three on yellowish paper, in light from the right."""
    light = np.linspace(0.75, 1, 400)[:, None] * (235, 225, 190)
    sheet = Image.fromarray(np.broadcast_to(light, (300, 400, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(sheet)
    pen.arc((150, 60, 240, 150), 200, 90, "navy", width=12)
    pen.arc((140, 138, 245, 245), 270, 160, "navy", width=12)
    return np.asarray(sheet)


def draw(picture, ink, digit, probabilities):
    """Draw the steps side by side."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    titles = "picture", "background removed", "28 x 28, as in MNIST"
    for cell, title, image in zip(axes, titles, (picture, ink, digit)):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255)
        cell.set_title(title, loc="left")
        cell.set_anchor("N")  # titles at one height
        cell.axis("off")
    prediction = probabilities.argmax()
    colors = [BLUE if digit == prediction else GREY for digit in range(10)]
    bars = axes[3].barh(range(10), 100 * probabilities, color=colors)
    axes[3].bar_label(bars, [f"{100 * share:.1f}%" if share > 0.001 else ""
                             for share in probabilities], padding=4)
    axes[3].set_title("probability", loc="left")
    axes[3].set(yticks=range(10), xticks=[], xlim=(0, 130), ylim=(9.6, -0.6))  # 0 at the top
    axes[3].spines[["top", "right", "bottom"]].set_visible(False)
    axes[3].tick_params(length=0)
    return figure


def main(argv=None):
    """Train, take the picture through the steps, and show them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--image", help="picture of one digit, dark on light or light on dark")
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", help="folder for the data set")
    args = parser.parse_args(argv)

    picture = images.read(args.image) if args.image else blue_three()
    ink = images.ink(picture)
    digit = images.to_mnist(picture)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(args.dataset, args.data_dir, ctx=ctx, progress=True)
    params = model.init_params(seed=0, ctx=ctx)
    for record in train.fit(params, train_data, test_data, epochs=args.epochs):
        print(f"Epoch {record.epoch}. Test_acc {record.test_accuracy:.4f}")

    probabilities = predict.probabilities(digit[None], params)[0]
    print("model prediction is:", probabilities.argmax())
    figure = draw(picture, ink, digit, probabilities)
    if figure.canvas.required_interactive_framework:
        plt.show()
    else:
        figure.savefig("own_digit.png", dpi=150)
        print("no display; the steps are saved in own_digit.png")


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)

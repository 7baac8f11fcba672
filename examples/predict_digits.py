"""The chapter's ending: ten random test digits, and the model's predictions.

Trains briefly first. Shows the digits in a window or, if there is no display, saves them as
digits.png in the current folder. Run: python examples/predict_digits.py --epochs 3
"""

import argparse
import sys

import matplotlib.pyplot as plt

from mlp_mx import Error, data, model, runtime, train
from mlp_mx.runtime import gluon, nd


def show(strip):
    """Show a strip of digits in a window, or save it where Matplotlib has no window."""
    plt.imshow(strip.asnumpy())
    plt.axis("off")
    if plt.gcf().canvas.required_interactive_framework:
        plt.show()
    else:
        plt.savefig("digits.png", bbox_inches="tight", dpi=150)
        print("no display; the digits are saved in digits.png")


def main(argv=None):
    """Train, predict, show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", help="folder for the data set")
    args = parser.parse_args(argv)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(args.dataset, args.data_dir, ctx=ctx, progress=True)
    params = model.init_params(seed=0, ctx=ctx)
    for record in train.fit(params, train_data, test_data, epochs=args.epochs):
        print(f"Epoch {record.epoch}. Test_acc {record.test_accuracy:.4f}")

    # Sample ten random digits from the test set.
    samples = 10
    test_set = gluon.data.ArrayDataset(test_data.data, test_data.label)
    sample_data = gluon.data.DataLoader(test_set, samples, shuffle=True)
    X, label = next(iter(sample_data))
    predictions = model.predict(X.as_in_context(ctx), params)
    print("model predictions are:", predictions.asnumpy().astype(int))
    print("true labels          :", label.asnumpy().astype(int))

    # Lay them side by side: one strip, 28 pixels high and 280 wide, in three equal channels.
    strip = nd.transpose(X, (1, 0, 2, 3)).reshape((28, samples * 28, 1))
    show(nd.tile(strip, (1, 1, 3)))


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)

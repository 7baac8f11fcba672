"""Show what the model gets wrong: which digits it confuses, and its most confident mistakes.

Trains a model first, or loads one saved by `python -m mlp_mx.train --save`. Draws confusion.png and
mistakes.png.
"""

import os
import sys
from collections import Counter

from mlp_mx import InputError, checkpoint, data, model, plot, runtime, train
from mlp_mx._support import cli


def top_confusions(labels, predictions, count=5):
    """The most frequent mistakes, as ((truth, prediction), times)."""
    wrong = labels != predictions
    return Counter(zip(labels[wrong], predictions[wrong])).most_common(count)


@cli.command
def main(argv=None):
    """Train or load, then print and draw the mistakes."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=cli.integer(1, 1000), default=2)
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", type=cli.path, help="folder for the data set")
    parser.add_argument("--model", type=cli.path, help="saved model, instead of training one")
    parser.add_argument("--out", type=cli.path, default=".", help="folder for the two pictures")
    args = parser.parse_args(argv)
    paths = [os.path.join(args.out, name) for name in ("confusion.png", "mistakes.png")]
    for path in paths:
        plot.check_path(path)

    ctx = runtime.context("auto")
    params = (model.init_params(seed=0, ctx=ctx) if args.model is None
              else checkpoint.load(args.model, ctx)[0])
    if len(params) != 6 or len(params[0]) != 784:
        raise InputError(f"{args.model}: expected a network with 784 inputs and two hidden "
                         f"layers, found shapes {[param.shape for param in params]}")
    train_data, test_data = data.load(args.dataset, args.data_dir, ctx=ctx, progress=True)
    if args.model is None:
        for record in train.fit(params, train_data, test_data, epochs=args.epochs):
            print(f"Epoch {record.epoch}. Test_acc {record.test_accuracy:.4f}")

    probabilities = model.softmax(model.net(test_data.data, params)).asnumpy()
    predictions = probabilities.argmax(axis=1)
    labels = test_data.label.asnumpy().astype(int)
    wrong = (labels != predictions).sum()
    print(f"{wrong} of {len(labels)} test digits are misclassified; most often:")
    for (truth, prediction), times in top_confusions(labels, predictions):
        print(f"  {truth} predicted as {prediction}: {times} times")

    images = test_data.data.asnumpy()[..., 0]
    plot.save(plot.confusion_matrix(labels, predictions), paths[0])
    plot.save(plot.mistakes(images, labels, predictions, probabilities), paths[1])
    print("saved:", ", ".join(paths))


if __name__ == "__main__":
    sys.exit(main())

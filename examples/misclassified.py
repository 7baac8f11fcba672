"""Show what a saved model gets wrong: the classes it confuses, and its most confident mistakes.

Draws confusion.png and mistakes.png:

    python -m mlp_mx.train --save model.npz
    python examples/misclassified.py model.npz
"""

import argparse
import os
import sys
from collections import Counter

from mlp_mx import Error, checkpoint, data, plot, predict, runtime
from mlp_mx.data import recorded


def top_confusions(labels, predictions, count=5):
    """The most frequent mistakes, as ((truth, prediction), times)."""
    wrong = labels != predictions
    return Counter(zip(labels[wrong], predictions[wrong])).most_common(count)


def main(argv=None):
    """Load, then print and draw the mistakes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="saved model, .npz or .params")
    parser.add_argument("--dataset", choices=data.DATASETS,
                        help="data set (default: the one that the model was trained on)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder for the data set")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder for the two pictures")
    args = parser.parse_args(argv)
    paths = [os.path.join(args.out, name) for name in ("confusion.png", "mistakes.png")]
    for path in paths:
        plot.check_path(path)

    params, metadata = checkpoint.load(args.model, runtime.context("auto"))
    _, test_data = recorded.load(recorded.name_in(metadata), args.dataset, args.data_dir,
                                 ctx=params[0].context, progress=True)

    probabilities = predict.probabilities(test_data.data, params)
    predictions = probabilities.argmax(axis=1)
    labels = test_data.label.asnumpy().astype(int)
    classes = test_data.classes or range(probabilities.shape[1])  # their names, if they have any
    print(f"{(labels != predictions).sum()} of {len(labels)} {test_data.name} test images are "
          "misclassified; most often:")
    for (truth, prediction), times in top_confusions(labels, predictions):
        print(f"  {classes[truth]} predicted as {classes[prediction]}: {times} times")

    images = test_data.data.asnumpy()[..., 0]
    plot.save(plot.confusion_matrix(labels, predictions, len(classes), test_data.classes), paths[0])
    plot.save(plot.mistakes(images, labels, predictions, probabilities,
                            classes=test_data.classes), paths[1])
    print("saved:", ", ".join(paths))


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)

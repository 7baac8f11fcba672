"""Draw figures from arrays, and `save` them as PNG, SVG or PDF.

No figure needs a display, and Matplotlib's settings are left alone. Functions that draw return a
`matplotlib.figure.Figure`; those that take images raise an `InputError` if there are none, if more
than 1000 would be drawn, or if shapes do not match. Images are white on black, whatever the scale
of their values. Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

import io

import numpy as np

from . import InputError
from ._support.drawing import check_drawing, import_matplotlib
from ._support.files import check_suffix, check_writable, whole_file

__all__ = [
    "check_count", "check_path", "confusion_matrix", "first_layer", "inputs", "learning_curves",
    "mistakes", "save", "strip", "use_log_scale",
]

BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
DPI = 150  # of PNG files
SIDE = 4 * 28 / DPI  # inches along each side of an image: 4 x 4 dots per pixel in PNG files
MAX_DIGITS = 1000  # in a figure; Matplotlib draws at most 65 535 pixels
# No dates, so that equal figures make the same bytes.
DATES = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def strip(images, predictions, labels=None, classes=None):
    """Draw images in rows of ten, each above its prediction.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
    predictions : ndarray, shape (n,)
        Class indices.
    labels : ndarray, shape (n,), optional
        True classes. Captions of wrong predictions are red and name the true class, too.
    classes : list of str, optional
        Names of the classes, to be shown in place of indices.
    """
    labels = predictions if labels is None else labels
    images, predictions, labels = _as_arrays(images, predictions, labels)
    names = [[classes[int(one)] if classes else f"{one:g}" for one in pair]
             for pair in zip(predictions, labels)]
    captions = [prediction if prediction == label else f"{prediction}, is {label}"
                for prediction, label in names]
    return _captioned(images, captions, predictions != labels)


def inputs(originals, images, captions):
    """Draw pictures beside the network's inputs made from them.

    Parameters
    ----------
    originals : list of n ndarrays of uint8, each of two dimensions
        Pictures of any size; 0 is black, 255 is white.
    images : ndarray, shape (n, 28, 28)
    captions : list of n str
        Long lines are shortened in the middle.
    """
    images, captions = _as_arrays(images, captions)
    figure, cells = _grid(len(images), columns=6, gap=0.4, below=0.7, axes_each=2)
    for left, right, original, image, caption in zip(
            cells[::2], cells[1::2], originals, images, captions):
        _show(left, original, (0, 255))
        left.spines[:].set(visible=True, color="0.8")  # where white paper ends
        _show(right, image, (images.min(), images.max()))
        middle = {"x": -0.2, "transform": right.transAxes, "ha": "center", "parse_math": False}
        right.text(y=0.5, s="→", va="center", **middle)
        right.text(y=-0.08, s=_shortened(caption), va="top", **middle)
    return figure


def _shortened(caption, length=26):
    half = length // 2
    return "\n".join(line if len(line) <= length else f"{line[:half]}…{line[-half:]}"
                     for line in caption.split("\n"))


def learning_curves(epochs, losses, train_accuracies, test_accuracies, published=None):
    """Draw the loss and the accuracies by epoch, side by side.

    Parameters
    ----------
    epochs : sequence of n int
        In ascending order.
    losses : sequence of n float
        Mean training losses, in nats per example. The scale is logarithmic if they span more than
        a factor of ten.
    train_accuracies, test_accuracies : sequence of n float
        In [0, 1].
    published : sequence, optional
        Runs to draw dashed for the same epochs, like `mlp_mx.train.published.RUNS`.
    """
    figure = _figure(9, 3.6, layout="constrained")
    left, right = figure.subplots(1, 2)
    runs = published or ()
    _plot_curve(left, epochs, losses, runs, 0, BLUE, "training")
    _plot_curve(right, epochs, train_accuracies, runs, 1, BLUE, "training")
    _plot_curve(right, epochs, test_accuracies, runs, 2, ORANGE, "test")
    _finish(left, "loss (nats per example)")
    _finish(right, "accuracy")
    if max(losses) > 10 * min(losses):
        use_log_scale(left)
    right.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:g}%")
    return figure


def use_log_scale(axes):
    """Give the y-axis of some axes a logarithmic scale with plain numbers, such as 0.05."""
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def _plot_curve(axes, epochs, curve, runs, column, color, label):
    """Plot a curve and, dashed, a column of published runs for the same epochs."""
    marker = "o" if len(epochs) <= 30 else None
    axes.plot(epochs, curve, color=color, marker=marker, markersize=4, label=label)
    label = f"{label}, published"
    for run in runs:
        known = [epoch for epoch in epochs if epoch < len(run)]
        if known:
            axes.plot(known, [run[epoch][column] for epoch in known], color=color, alpha=0.6,
                      linestyle="--", linewidth=1, marker=marker, markersize=2, label=label)
            label = None  # one entry in the legend for all runs


def _finish(axes, title):
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)


def confusion_matrix(labels, predictions, num_classes=10):
    """Draw how often each class (row) was predicted as each class (column), mistakes in colour.

    Parameters
    ----------
    labels, predictions : ndarray of int, shape (n,)
        True and predicted class indices.
    num_classes : int, default 10
    """
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predictions), 1)
    wrong = counts * (1 - np.eye(num_classes, dtype=int))
    size = 1 + 0.45 * num_classes
    axes = _figure(size, size, layout="constrained").add_subplot()
    axes.set_facecolor("0.93")  # of the masked diagonal
    axes.imshow(np.ma.masked_array(wrong, np.eye(num_classes)), "Oranges", vmin=0,
                vmax=max(wrong.max(), 1))
    for (row, column), count in np.ndenumerate(counts):
        is_dark = wrong[row, column] > 0.6 * wrong.max()
        axes.text(column, row, f"{count}", ha="center", va="center",
                  color="white" if is_dark else "black" if wrong[row, column] else "0.6")
    axes.set(xlabel="prediction", ylabel="truth",
             xticks=range(num_classes), yticks=range(num_classes))
    axes.set_title(f"{wrong.sum()} of {len(labels)} wrong", loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.figure


def mistakes(images, labels, predictions, probabilities, count=20):
    """Draw the wrong predictions with the highest probabilities, the highest first.

    Parameters
    ----------
    images : ndarray, shape (n, 28, 28)
    labels, predictions : ndarray of int, shape (n,)
        True and predicted class indices.
    probabilities : ndarray of float, shape (n, num_classes)
    count : int, default 20
        Draw at most this many.
    """
    images, labels, predictions, probabilities = _as_arrays(
        images, labels, predictions, probabilities)
    wrong = np.flatnonzero(predictions != labels)
    confidence = probabilities[np.arange(len(images)), predictions]
    order = wrong[np.argsort(-confidence[wrong], kind="stable")[:count]]
    if not len(order):
        figure = _figure(4, 1)
        figure.text(0.5, 0.5, "no wrong predictions", ha="center", va="center")
        return figure
    captions = [f"{predictions[i]} ({100 * confidence[i]:.0f}%), is {labels[i]}" for i in order]
    return _captioned(images[order], captions, [True] * len(order), columns=5, gap=0.75)


def first_layer(W1, count=64):
    """Draw the weights of the first layer's units as images, on one colour scale around 0.

    Parameters
    ----------
    W1 : ndarray of float, shape (784, num_hidden)
    count : int, default 64
        Draw at most this many units, those with the largest norms.
    """
    largest = np.argsort(-np.linalg.norm(W1, axis=0), kind="stable")[:count]
    images = W1.T[largest].reshape(-1, 28, 28)
    limit = np.quantile(abs(images), 0.995) or 1  # a few large weights would make all others pale
    figure, cells = _grid(len(images), columns=16, gap=0.1, below=0.1)
    for axes, image in zip(cells, images):
        shown = _show(axes, image, (-limit, limit), "RdBu_r")
    inch = 1 / figure.get_figwidth()
    bar = figure.add_axes([1 + 0.12 * inch, 0, 0.12 * inch, 1])
    figure.colorbar(shown, cax=bar, extend="both").outline.set_visible(False)
    return figure


def check_path(path):
    """Raise an `InputError` if a figure cannot be drawn and saved at `path`; change nothing."""
    check_writable(path, *DATES)
    check_drawing(lambda: _write(
        learning_curves([0, 1], [1, 0.05], [0.5, 0.6], [0.5, 0.6]), io.BytesIO(),
        check_suffix(path, *DATES)))


def save(figure, path):
    """Write a figure to a file, whole or not at all; equal figures make the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path-like
        Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    InputError
        If the path has another suffix.
    mlp_mx._support.files.WriteError
        If the file cannot be written.
    """
    suffix = check_suffix(path, *DATES)
    with whole_file(path) as file:
        _write(figure, file, suffix)


def _write(figure, file, suffix):
    """Write a figure to a file that is open."""
    # Without a salt, names in SVG files are random.
    with import_matplotlib().rc_context({"svg.hashsalt": "mlp_mx"}):
        figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=DATES[suffix],
                       bbox_inches="tight")


def check_count(count):
    """Raise an `InputError` if a figure cannot show this many digits."""
    if not 1 <= count <= MAX_DIGITS:
        raise InputError(f"expected 1 to {MAX_DIGITS} digits to draw, found {count}")


def _as_arrays(images, *others):
    """All arguments as arrays; an `InputError` unless each has one item per image."""
    arrays = [np.asarray(array) for array in (images, *others)]
    shapes = [array.shape for array in arrays]
    if len(shapes[0]) != 3 or len({len(array) for array in arrays}) > 1:
        raise InputError("expected images of shape (n, height, width) and n of everything else, "
                         f"found shapes {', '.join(map(str, shapes))}")
    return arrays


def _figure(width, height, **options):
    """A figure of this size in inches, without pyplot and so without a display."""
    import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **options)


def _grid(count, columns, gap, below, axes_each=1):
    """A figure and its square axes for some digits, row by row; spaces are fractions of a side."""
    check_count(count)
    count *= axes_each
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = _figure(SIDE * (columns + gap * (columns - 1)), SIDE * (rows + below * (rows - 1)))
    figure.subplots_adjust(0, 0, 1, 1, gap, below)  # `save` adds margins
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _show(axes, image, limits, cmap="gray"):
    """Show an image without a frame around it."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(image, cmap, vmin=limits[0], vmax=limits[1])


def _captioned(images, captions, wrong, columns=10, gap=0.22):
    """Digits with captions below them, the wrong ones in red."""
    figure, cells = _grid(len(images), columns, gap, below=0.4)
    for axes, image, caption, is_wrong in zip(cells, images, captions, wrong):
        _show(axes, image, (images.min(), images.max()))
        axes.set_xlabel(caption, color=VERMILION if is_wrong else "black")
    return figure

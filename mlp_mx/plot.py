"""Draw figures from arrays, and `save` them as PNG, SVG or PDF.

No figure needs a display, and Matplotlib's settings are left alone. Functions that draw return a
`matplotlib.figure.Figure`; those that take images raise an `InputError` if there are none, if more
than 1000 would be drawn, or if shapes do not match. Images are white on black, whatever the scale
of their values. Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

import io
import textwrap

import numpy as np

from ._support.drawing import check_drawing, import_matplotlib
from ._support.errors import InputError
from ._support.files import check_suffix, check_writable, whole_file

__all__ = [
    "check_count", "check_path", "confusion_matrix", "finish", "first_layer", "inputs",
    "learning_curves", "mistakes", "save", "strip",
]


def __dir__():
    return __all__


BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
DPI = 150  # of PNG files
SIDE = 4 * 28 / DPI  # inches along each side of an image: 4 x 4 dots per pixel in PNG files
WRONG, QUIET = VERMILION, "0.4"  # captions of what is wrong, and text of little weight
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
    classes : sequence of str, optional
        The names of the classes, to show instead of their indices.
    """
    labels = predictions if labels is None else labels
    images, predictions, labels = _as_arrays(images, predictions, labels)
    names = _names(classes)
    separator = ", is " if classes is None else ",\nis "
    captions = [names(prediction) if prediction == label
                else f"{names(prediction)}{separator}{names(label)}"
                for prediction, label in zip(predictions, labels)]
    return _captioned(images, captions, predictions != labels, columns=10)


def inputs(originals, images, captions):
    """Draw pictures next to the network's inputs made from them.

    Parameters
    ----------
    originals : list of n ndarrays of uint8, shape (height, width) or (height, width, 3)
        Pictures of any size, grey or RGB; None where a file is not a picture.
    images : list of n ndarrays, shape (28, 28)
        None for pictures that were rejected: a cross is drawn, and the caption is red.
    captions : list of n str
        Below each picture. Long names are shortened in the middle, other long lines are broken.
    """
    if len({len(originals), len(images), len(captions)}) > 1:
        raise InputError("expected as many pictures as inputs and captions, found "
                         f"{len(originals)}, {len(images)} and {len(captions)}")
    check_count(len(images))
    captions = [_broken(caption) for caption in captions]
    lines = max(caption.count("\n") for caption in captions) + 1
    size = {"fontsize": 12 if len(images) <= 30 else 6}
    figure, places, (width, height) = _pairs(len(images), below=0.15 + 0.11 * lines)
    for (x, y), original, image, caption in zip(places, originals, images, captions):
        left = figure.add_axes([x, y, width, height])
        right = figure.add_axes([x + 1.25 * width, y, width, height])
        _show_if_any(left, original, (0, 255), size)
        _show_if_any(right, image, image is not None and (np.min(image), np.max(image)), size)
        left.spines[:].set(visible=True, color="0.8")  # where white paper ends
        figure.text(x + 1.125 * width, y + 0.5 * height, "→", ha="center", va="center", **size)
        figure.text(x, y - 0.06 * height, caption, va="top", parse_math=False,
                    color="black" if image is not None else WRONG, **size)
    return figure


def _pairs(count, below):
    """Return a figure for pairs of squares, row by row, their places, and a square's size."""
    columns, side = (min(count, 3), 2) if count <= 30 else (6, 1)
    rows, across, down = -(-count // columns), 2.75, 1 + below  # in sides: two squares, and gaps
    figure = _figure(side * across * columns, side * down * rows)
    width, height = 1 / across / columns, 1 / down / rows
    return figure, [(number % columns / columns, 1 - number // columns / rows - height)
                    for number in range(count)], (width, height)


def _show_if_any(axes, image, limits, size):
    """Show an image, or a cross where there is none."""
    if image is not None:
        _show(axes, image, limits)
        return
    axes.set(xticks=[], yticks=[], facecolor="0.95")
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, "✕", ha="center", va="center", color=WRONG, fontsize=2 * size["fontsize"])


def _broken(caption, length=46):
    """Break a caption into lines; shorten a long first word, such as a name."""
    lines = []
    for line in caption.split("\n"):
        if len(line) > length and " " not in line.strip():
            line = f"{line[:length // 2]}…{line[-length // 2 + 1:]}"
        lines += textwrap.wrap(line, length, max_lines=5, placeholder=" …") or [""]
    return "\n".join(lines)


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
    finish(left, "loss (nats per example)", "log" if max(losses) > 10 * min(losses) else "linear")
    finish(right, "accuracy", "percent")
    for axes in (left, right):
        axes.legend(edgecolor="none", framealpha=1)  # no grid behind the text
    return figure


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


def finish(axes, title, scale="linear"):
    """Give axes of curves by epoch their title and this module's style.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title : str
    scale : {"linear", "log", "percent"}, default "linear"
        Of the y-axis: "log" has plain numbers such as 0.05; "percent" shows 0.975 as 97.5%.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    if scale == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    elif scale == "percent":
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")


def confusion_matrix(labels, predictions, num_classes=10, classes=None):
    """Draw how often each class (row) was predicted as each class (column), mistakes in colour.

    Parameters
    ----------
    labels, predictions : ndarray of int, shape (n,)
        True and predicted class indices.
    num_classes : int, default 10
    classes : sequence of str, optional
        The names of the classes, to show instead of their indices.
    """
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predictions), 1)
    right = np.eye(num_classes, dtype=bool)
    wrong = np.where(right, 0, counts)
    size = 1.4 + 0.5 * num_classes
    axes = _figure(size, size, layout="constrained").add_subplot()
    axes.set_facecolor("#D6E6F2")  # of the masked diagonal: a light blue
    shown = axes.imshow(np.ma.masked_array(wrong, right), _oranges(), vmin=0,
                        vmax=max(wrong.max(), 1))
    for (row, column), count in np.ndenumerate(counts):
        is_dark = not right[row, column] and _is_dark(shown.to_rgba(count))
        axes.text(column, row, f"{count}", ha="center", va="center",
                  color="white" if is_dark else "black" if count else QUIET,
                  fontsize=11 if count < 10000 else 8)
    names = [*map(_names(classes), range(num_classes))]
    axes.set(xlabel="prediction", ylabel="truth")
    axes.set_xticks(range(num_classes), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(range(num_classes), names)
    axes.set_title(f"{wrong.sum()} of {len(labels)} wrong ({100 * wrong.sum() / len(labels):.2f}%)",
                   loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for place in np.arange(num_classes - 1) + 0.5:
        axes.axhline(place, color="white", linewidth=2)
        axes.axvline(place, color="white", linewidth=2)
    return axes.figure


def _oranges():
    """Colours from white (nothing) over orange to brown."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("", ["#F7F7F7", ORANGE, VERMILION, "#7A2E00"])


def _is_dark(color):
    """Whether white text has more contrast on a colour than black text (WCAG 2)."""
    red, green, blue = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4
                        for level in color[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def mistakes(images, labels, predictions, probabilities, count=20, classes=None):
    """Draw the wrong predictions with the highest probabilities, the highest first.

    Parameters
    ----------
    images : ndarray, shape (n, 28, 28)
    labels, predictions : ndarray of int, shape (n,)
        True and predicted class indices.
    probabilities : ndarray of float, shape (n, num_classes)
    count : int, default 20
        Draw at most this many.
    classes : sequence of str, optional
        The names of the classes, to show instead of their indices.
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
    names = _names(classes)
    separator = ", is " if classes is None else ",\nis "
    captions = [f"{names(predictions[i])} ({_percent(confidence[i])}){separator}{names(labels[i])}"
                for i in order]
    figure = _captioned(images[order], captions, [True] * len(order), columns=5)
    inch = 1 / figure.get_figheight()
    figure.text(0, 1 + 0.15 * inch, "prediction (its probability), and the truth", color=QUIET)
    return figure


def _percent(share):
    """Format a share as a percentage; less than 1 is never shown as 100%."""
    return "> 99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"


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
    figure.colorbar(shown, cax=bar, extend="both", label="weight").outline.set_visible(False)
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
    """Return all arguments as arrays; raise an `InputError` unless each has one item per image."""
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


def _names(classes):
    """A function from a class's index to its name."""
    if classes is None:
        return "{:g}".format
    return lambda index: str(classes[int(index)])


def _grid(count, columns, gap, below):
    """A figure and its square axes for some digits, row by row; spaces are fractions of a side."""
    check_count(count)
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


def _captioned(images, captions, wrong, columns):
    """Digits with captions below them, the wrong ones in red."""
    lines = [line for caption in captions for line in caption.split("\n")]
    gap = max(0.22, 0.11 * max(map(len, lines), default=0) - 0.9)  # for the longest caption
    below = 0.4 if len(lines) == len(captions) else 0.65
    figure, cells = _grid(len(images), columns, gap, below)
    for axes, image, caption, is_wrong in zip(cells, images, captions, wrong):
        _show(axes, image, (images.min(), images.max()))
        axes.set_xlabel(caption, color=WRONG if is_wrong else "black", parse_math=False)
    return figure

"""Draw figures from arrays, and `save` them as PNG, SVG or PDF.

No figure needs a display, and Matplotlib's state is left alone: no pyplot, no settings. Wrong
predictions differ from right ones in their text as well as in colour, and the colours are those of
Okabe and Ito, which colour-blind people can tell apart.
"""

import numpy as np

from . import InputError
from ._support.drawing import import_matplotlib
from ._support.files import check_suffix, check_writable, whole_file

__all__ = [
    "check_count", "check_path", "confusion_matrix", "first_layer", "inputs", "learning_curves",
    "mistakes", "save", "strip",
]

BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
SIDE = 28  # pixels of an image
DPI = 150  # of PNG files
MAX_DIGITS = 1000  # in a figure; Matplotlib draws at most 65 535 pixels
# The dates that `save` leaves out, so that the same figure makes the same bytes.
DATES = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def strip(images, predictions, labels=None):
    """Draw digits in rows of ten, each with its prediction below it.

    Parameters
    ----------
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    predictions : ndarray, shape (n,)
        Class indices.
    labels : ndarray, shape (n,), optional
        The true classes. A wrong prediction is red and followed by the true class.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the shapes do not fit together, or there is no image.
    """
    images = _as_images(images)
    check_count(len(images))
    predictions = _as_classes(predictions, len(images), "predictions")
    labels = predictions if labels is None else _as_classes(labels, len(images), "labels")
    captions = [f"{prediction}" if prediction == label else f"{prediction}, is {label}"
                for prediction, label in zip(predictions, labels)]
    return _captioned(images, captions, predictions != labels)


def inputs(originals, images, captions):
    """Draw pictures beside the network's inputs made from them.

    Parameters
    ----------
    originals : list of n ndarrays, each of two dimensions
        Grey pictures of any sizes. In uint8, 0 is black and 255 is white; in other dtypes, the
        least value is black and the greatest is white.
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    captions : list of n str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the shapes or lengths do not fit together, or there is no image.
    """
    images = _as_images(images)
    check_count(len(images))
    originals = [np.asarray(original) for original in originals]
    if not len(originals) == len(captions) == len(images):
        raise InputError(f"expected {len(images)} originals and captions, as there are images; "
                         f"found {len(originals)} and {len(captions)}")
    wrong = [original.shape for original in originals if original.ndim != 2 or not original.size]
    if wrong:
        raise InputError(f"expected originals of two dimensions, found shape {wrong[0]}")
    captions = [_shortened(caption) for caption in captions]
    num_lines = 1 + max(caption.count("\n") for caption in captions)
    figure, cells = _grid(2 * len(images), 6, gap=0.32, below=0.16 + 0.17 * num_lines)
    for left, right, *content in zip(cells[::2], cells[1::2], originals, images, captions):
        _draw_pair(left, right, *content, (images.min(), images.max()))
    return figure


def _draw_pair(left, right, original, image, caption, limits):
    """Draw a picture, an arrow, and the network's input, with a caption below."""
    is_bytes = original.dtype == np.uint8
    _show(left, original, (0, 255) if is_bytes else (original.min(), original.max()))
    _show(right, image, limits)
    left.spines[:].set_visible(True)  # where white paper ends
    left.spines[:].set_color("0.8")
    # Placed by the right one, which is always square.
    style = {"x": -0.21, "transform": right.transAxes, "ha": "center", "parse_math": False}
    right.text(y=0.5, s="→", va="center", **style)
    right.text(y=-0.08, s=caption, va="top", **style)


def learning_curves(epochs, losses, train_accuracies, test_accuracies, published=None):
    """Draw the loss and the accuracies by epoch, side by side.

    Parameters
    ----------
    epochs : sequence of n int
        In ascending order.
    losses : sequence of n float
        Mean training losses, in nats per example; on a logarithmic scale if they span more than a
        factor of ten.
    train_accuracies, test_accuracies : sequence of n float
        In [0, 1]. The first twentieth of a long run may lie below the panel.
    published : sequence, optional
        Runs to draw dashed for the same epochs, in the form of `mlp_mx.train.published.RUNS`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the lengths differ, or there is no epoch.
    """
    lengths = [len(values) for values in (epochs, losses, train_accuracies, test_accuracies)]
    if min(lengths) != max(lengths) or not min(lengths):
        raise InputError("expected one or more epochs, and a loss and two accuracies of each; "
                         f"found {', '.join(map(str, lengths))}")
    figure = _figure(9, 3.6, layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_curve(left, epochs, losses, published, 0, BLUE, "training")
    _plot_curve(right, epochs, train_accuracies, published, 1, BLUE, "training")
    _plot_curve(right, epochs, test_accuracies, published, 2, ORANGE, "test")
    _finish_loss(left, max(losses) / max(min(losses), 1e-30))
    _finish_accuracy(right, epochs[len(epochs) // 20])
    return figure


def _plot_curve(axes, epochs, curve, published, column, color, label):
    """Plot a curve and, dashed, a column of the published runs for the same epochs."""
    marker = ("s" if color == ORANGE else "o") if len(epochs) <= 30 else None
    axes.plot(epochs, curve, color=color, marker=marker, markersize=4, label=label)
    label = f"{label}, published"
    for run in published or ():
        known = [epoch for epoch in epochs if 0 <= epoch < len(run)]
        if known:
            axes.plot(known, [run[epoch][column] for epoch in known], color=color, alpha=0.6,
                      linestyle="--", linewidth=1, marker=marker, markersize=2, label=label)
            label = None  # one entry in the legend for all runs


def _finish_loss(axes, span):
    """Label the loss panel, and make it logarithmic if the losses `span` a large factor."""
    from matplotlib.ticker import LogLocator, NullLocator

    _finish(axes, "loss (nats per example)")
    if span > 10:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1000 else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")


def _finish_accuracy(axes, start):
    """Label the accuracy panel, and fit it to the curves from epoch `start` on."""
    _finish(axes, "accuracy")
    axes.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:g}%")
    values = np.concatenate([line.get_ydata()[np.asarray(line.get_xdata()) >= start]
                             for line in axes.lines])
    margin = 0.05 * max(np.ptp(values), 0.01)
    axes.set_ylim(values.min() - margin, values.max() + margin)


def _finish(axes, title):
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)


def confusion_matrix(labels, predictions, num_classes=10):
    """Draw how often each class was predicted for each true class.

    Parameters
    ----------
    labels, predictions : ndarray, shape (n,)
        True and predicted class indices.
    num_classes : int, default 10

    Returns
    -------
    matplotlib.figure.Figure
        The counts, one row per true class, one column per predicted class. Only mistakes are
        coloured.

    Raises
    ------
    InputError
        If the lengths differ, or a class is not from 0 to num_classes - 1.
    """
    labels = _as_classes(labels, np.size(labels), "labels", num_classes)
    predictions = _as_classes(predictions, len(labels), "predictions", num_classes)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes ** 2)
    counts = pairs.reshape(num_classes, num_classes)
    wrong = np.ma.masked_array(counts, np.eye(num_classes, dtype=bool))
    most = max(wrong.filled(0).max(), 1)
    size = 1 + 0.45 * num_classes
    axes = _figure(size, size, layout="constrained").add_subplot()
    cmap = import_matplotlib().colormaps["Oranges"].with_extremes(under="white", bad="0.93")
    axes.imshow(wrong, cmap, vmin=0.5, vmax=most)
    for (row, column), count in np.ndenumerate(counts):
        color = "black" if 0 < count <= 0.6 * most else "white" if count else "0.75"
        axes.text(column, row, f"{count}", ha="center", va="center",
                  color="0.45" if row == column else color)
    axes.set(xlabel="prediction", ylabel="truth",
             xticks=range(num_classes), yticks=range(num_classes))
    axes.set_title(f"{wrong.filled(0).sum()} of {len(labels)} wrong", loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.figure


def mistakes(images, labels, predictions, probabilities, count=20):
    """Draw the wrong predictions with the highest probabilities, the highest first.

    Parameters
    ----------
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    labels, predictions : ndarray, shape (n,)
        True and predicted class indices.
    probabilities : ndarray of float, shape (n, num_classes) or (n,)
        Of all classes, or of the predicted ones.
    count : int, default 20
        Draw at most this many.

    Returns
    -------
    matplotlib.figure.Figure
        If no prediction is wrong, it says so.

    Raises
    ------
    InputError
        If the shapes do not fit together, there is no image, or the count is less than 1.
    """
    images = _as_images(images)
    labels = _as_classes(labels, len(images), "labels")
    predictions = _as_classes(predictions, len(images), "predictions")
    probabilities = _of_predicted(np.asarray(probabilities), predictions)
    check_count(count)
    wrong = np.flatnonzero(predictions != labels)
    if not len(wrong):
        figure = _figure(4, 1)
        figure.text(0.5, 0.5, f"all {len(images)} predictions are correct",
                    ha="center", va="center")
        return figure
    surest = wrong[np.argsort(-probabilities[wrong], kind="stable")][:count]
    captions = [f"{predictions[i]} ({100 * probabilities[i]:.0f}%), is {labels[i]}" for i in surest]
    return _captioned(images[surest], captions, [True] * len(surest), columns=5, gap=0.56)


def first_layer(W1, count=64):
    """Draw the weights of the units of the first layer, pixel by pixel.

    Parameters
    ----------
    W1 : ndarray of float, shape (784, num_hidden)
    count : int, default 64
        Draw at most this many units, those whose weights have the largest norms.

    Returns
    -------
    matplotlib.figure.Figure
        With one colour scale for all, symmetric around 0; the largest 0.5 % of the weights exceed
        it.

    Raises
    ------
    InputError
        If the shape is another, or the count is less than 1.
    """
    W1 = np.asarray(W1)
    if W1.ndim != 2 or W1.shape[0] != SIDE * SIDE or not W1.size:
        raise InputError(f"expected weights of shape ({SIDE * SIDE}, num_hidden), "
                         f"found {W1.shape}")
    check_count(count)
    largest = np.argsort(-np.linalg.norm(W1, axis=0), kind="stable")[:count]
    images = W1.T[largest].reshape(-1, SIDE, SIDE)
    limit = np.quantile(abs(images), 0.995) or 1  # or else a few weights make all others pale
    figure, cells = _grid(len(images), 16, side=3 * SIDE / DPI, gap=0.08, below=0.08, right=0.8)
    for axes, image in zip(cells, images):
        shown = _show(axes, image, (-limit, limit), "RdBu_r")
    bottom, top = figure.subplotpars.bottom, figure.subplotpars.top
    width = 0.12 / figure.get_figwidth()
    bar = figure.add_axes([figure.subplotpars.right + width, bottom, width, top - bottom])
    figure.colorbar(shown, cax=bar, extend="both").outline.set_visible(False)
    return figure


def check_path(path):
    """Raise an `InputError` if a figure cannot be drawn and saved at `path`; change nothing."""
    check_writable(path, *DATES)
    import_matplotlib()


def save(figure, path):
    """Write a figure to a file, whole or not at all; the same figure makes the same bytes.

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
        If it cannot be written to.
    """
    suffix = check_suffix(path, *DATES)
    # The salt, for the time of writing, keeps random names out of SVG files.
    with whole_file(path) as file, import_matplotlib().rc_context({"svg.hashsalt": "mlp_mx"}):
        figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=DATES[suffix])


def check_count(count):
    """Raise an `InputError` if a figure cannot show so many digits."""
    if not 1 <= count <= MAX_DIGITS:
        raise InputError(f"expected 1 to {MAX_DIGITS} digits to draw, found {count}")


def _as_images(images):
    images = np.asarray(images)
    if images.shape[1:] != (SIDE, SIDE) or not len(images) or images.dtype.kind not in "buif":
        raise InputError(f"expected real images of shape (n, {SIDE}, {SIDE}), n at least 1; "
                         f"found {images.shape} of {images.dtype}")
    return images


def _as_classes(classes, count, name, num_classes=None):
    classes = np.asarray(classes)
    if classes.shape != (count,):
        raise InputError(f"expected {name} of shape ({count},), found {classes.shape}")
    classes = classes.astype(int)
    if num_classes and count and not 0 <= classes.min() <= classes.max() < num_classes:
        raise InputError(f"expected {name} from 0 to {num_classes - 1}, "
                         f"found {classes.min()} to {classes.max()}")
    return classes


def _of_predicted(probabilities, predictions):
    """The probability of each predicted class, shape (n,), from these or from those of all."""
    if probabilities.shape == predictions.shape:
        return probabilities
    if probabilities.ndim != 2 or len(probabilities) != len(predictions):
        raise InputError(f"expected probabilities of shape ({len(predictions)}, num_classes), "
                         f"found {probabilities.shape}")
    _as_classes(predictions, len(predictions), "predictions", probabilities.shape[1])
    return probabilities[np.arange(len(predictions)), predictions]


def _shortened(caption, width=26):
    """A caption whose lines fit below a pair of images, in printable characters."""
    lines = "".join(char if char.isprintable() or char == "\n" else "?" for char in caption)
    half = width // 2
    return "\n".join(line if len(line) <= width else f"{line[:half]}…{line[-half:]}"
                     for line in lines.split("\n"))


def _figure(width, height, **options):
    """A figure of some inches, without pyplot and so without a display."""
    import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **options)


def _grid(count, columns, side=4 * SIDE / DPI, gap=0.16, below=0.3, right=0):
    """A figure with `count` square axes, `columns` in a row.

    Lengths are in inches: `side` of the axes, `gap` between two, room `below` each and to the
    `right` of all. A pixel of an image is a whole number of pixels of a PNG file.
    """
    columns = min(count, columns)
    rows = -(-count // columns)
    width, height = columns * (side + gap) + right, rows * (side + below) + 0.08
    figure = _figure(width, height)
    figure.subplots_adjust(
        left=gap / 2 / width, right=1 - (right + gap / 2) / width, wspace=gap / side,
        bottom=below / height, top=1 - 0.08 / height, hspace=below / side)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells[count:]:
        axes.remove()
    return figure, cells[:count]


def _show(axes, image, limits, cmap="gray"):
    """Show an image without a frame around it."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    # Large pictures are smoothed, small ones keep their pixels.
    interpolation = "nearest" if image.shape == (SIDE, SIDE) else "antialiased"
    return axes.imshow(image, cmap, vmin=limits[0], vmax=limits[1], interpolation=interpolation)


def _captioned(images, captions, wrong, columns=10, gap=0.16):
    """Digits with captions below them, the wrong ones in red."""
    figure, cells = _grid(len(images), columns, gap=gap)
    for axes, image, caption, is_wrong in zip(cells, images, captions, wrong):
        _show(axes, image, (images.min(), images.max()))
        axes.set_xlabel(caption, color=VERMILION if is_wrong else "black")
    return figure

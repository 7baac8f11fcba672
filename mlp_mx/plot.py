"""Pictures: arrays in, Matplotlib figures out, and `save` to write them as PNG, SVG or PDF.

No figure needs a display, and nothing of Matplotlib's state is changed: no pyplot, no settings.
Wrong predictions are told by their words as well as by their colour, and the colours are those of
Okabe and Ito, which the colour-blind can tell apart.
"""

import numpy as np

from . import InputError
from ._support.files import check_suffix, check_writable, whole_file

__all__ = [
    "check_count", "check_path", "confusion_matrix", "first_layer", "inputs", "learning_curves",
    "mistakes", "save", "strip",
]

BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
SIDE = 28  # pixels of an image
COLUMNS = 10  # digits in a row
DPI = 150  # of PNG files
MOST = 1000  # digits in a figure; Matplotlib ends at 65 535 pixels
# What `save` leaves out of each kind of file, so that the same picture makes the same bytes.
DATES = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def strip(images, predictions, labels=None):
    """Draw digits in rows of ten, each with its prediction under it.

    Parameters
    ----------
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    predictions : ndarray, shape (n,)
        Class indices.
    labels : ndarray, shape (n,), optional
        The true classes. Where a prediction is wrong, it is red and followed by the truth.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the shapes do not fit, or there is no image.
    """
    images = _as_images(images)
    check_count(len(images))
    predictions = _as_classes(predictions, len(images), "predictions")
    labels = predictions if labels is None else _as_classes(labels, len(images), "labels")
    captions = [f"{prediction}" if prediction == label else f"{prediction}, is {label}"
                for prediction, label in zip(predictions, labels)]
    return _captioned(images, captions, predictions != labels)


def inputs(originals, images, captions):
    """Draw what was given to the network beside what it saw of it.

    Parameters
    ----------
    originals : list of n ndarrays, each of two dimensions
        Grey pictures of any sizes; of uint8, 0 is black and 255 is white, of other dtypes the
        least and the greatest value are.
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    captions : list of n str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the shapes or lengths do not fit, or there is no image.
    """
    images = _as_images(images)
    check_count(len(images))
    if not len(originals) == len(captions) == len(images):
        raise InputError(f"expected as many originals and captions as images, {len(images)}; "
                         f"found {len(originals)} and {len(captions)}")
    captions = [_shortened(caption) for caption in captions]
    num_lines = 1 + max(caption.count("\n") for caption in captions)
    figure, cells = _grid(2 * len(images), 6, gap=0.32, under=0.16 + 0.17 * num_lines)
    for number, (original, image, caption) in enumerate(zip(originals, images, captions)):
        left, right = cells[2 * number:2 * number + 2]
        original = np.asarray(original)
        if original.ndim != 2 or not original.size:
            raise InputError(f"expected originals of two dimensions, found shape {original.shape}")
        limits = (0, 255) if original.dtype == np.uint8 else (original.min(), original.max())
        _show(left, original, limits)
        _show(right, image, (images.min(), images.max()))
        left.spines[:].set_visible(True)  # where white paper ends
        left.spines[:].set_color("0.8")
        between = -0.21  # on the right one's axes, because the left one's are not always square
        right.text(between, 0.5, "→", transform=right.transAxes, ha="center", va="center")
        right.text(between, -0.08, caption, transform=right.transAxes, ha="center", va="top",
                   parse_math=False)
    return figure


def learning_curves(epochs, losses, train_accuracies, test_accuracies, published=None):
    """Draw the loss and the accuracies by epoch, side by side.

    Parameters
    ----------
    epochs : sequence of n int
        In ascending order.
    losses : sequence of n float
        Mean training losses, in nats an example; drawn on a logarithmic scale if they span more
        than a factor of ten.
    train_accuracies, test_accuracies : sequence of n float
        In [0, 1]. Of a long run, those of its first twentieth may lie below the panel.
    published : sequence, optional
        Runs to draw dashed beside, for the same epochs, as `mlp_mx.published.RUNS` has them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the lengths differ, or there is no epoch.
    """
    from matplotlib.figure import Figure

    curves = (losses, train_accuracies, test_accuracies)
    lengths = {len(epochs), *map(len, curves)}
    if len(lengths) > 1 or 0 in lengths:
        raise InputError("expected one or more epochs, and a loss and two accuracies of each; "
                         f"found {len(epochs)}, {', '.join(str(len(curve)) for curve in curves)}")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    published = [list(zip(*run)) for run in published or ()]
    _plot_curve(left, epochs, losses, [run[0] for run in published], BLUE, "o", "training")
    _plot_curve(right, epochs, train_accuracies, [run[1] for run in published], BLUE, "o",
                "training")
    _plot_curve(right, epochs, test_accuracies, [run[2] for run in published], ORANGE, "s", "test")
    _finish_loss(left, max(losses) / max(min(losses), 1e-30))
    _finish_accuracy(right, epochs[len(epochs) // 20])
    return figure


def confusion_matrix(labels, predictions, num_classes=10):
    """Draw how often each class was taken for each.

    Parameters
    ----------
    labels, predictions : ndarray, shape (n,)
        True and predicted class indices.
    num_classes : int, default 10

    Returns
    -------
    matplotlib.figure.Figure
        The counts, a row for each true class, a column for each predicted one. Colour is for
        mistakes, on a scale of their own; the diagonal has none.

    Raises
    ------
    InputError
        If the lengths differ, or a class is not from 0 to num_classes - 1.
    """
    import matplotlib
    from matplotlib.figure import Figure

    labels = _as_classes(labels, np.size(labels), "labels", num_classes)
    predictions = _as_classes(predictions, len(labels), "predictions", num_classes)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes ** 2)
    counts = pairs.reshape(num_classes, num_classes)
    wrong = np.ma.masked_array(counts, np.eye(num_classes, dtype=bool))
    most = max(wrong.filled(0).max(), 1)
    size = 1 + 0.45 * num_classes
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    cmap = matplotlib.colormaps["Oranges"].with_extremes(under="white", bad="0.93")
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
    return figure


def mistakes(images, labels, predictions, probabilities, count=20):
    """Draw the wrong predictions that the network was surest of, the surest first.

    Parameters
    ----------
    images : ndarray of a real dtype, shape (n, 28, 28)
        White on black, on any scale that they share.
    labels, predictions : ndarray, shape (n,)
        True and predicted class indices.
    probabilities : ndarray of float, shape (n, num_classes) or (n,)
        Of all classes, or of the predicted ones.
    count : int, default 20
        Draw at most so many.

    Returns
    -------
    matplotlib.figure.Figure
        Where no prediction is wrong, it says so.

    Raises
    ------
    InputError
        If the shapes do not fit, there is no image, or the count is less than 1.
    """
    from matplotlib.figure import Figure

    images = _as_images(images)
    labels = _as_classes(labels, len(images), "labels")
    predictions = _as_classes(predictions, len(images), "predictions")
    probabilities = _of_predicted(np.asarray(probabilities), predictions)
    check_count(count)
    wrong = np.flatnonzero(predictions != labels)
    surest = wrong[np.argsort(-probabilities[wrong], kind="stable")][:count]
    captions = [f"{predictions[i]} ({100 * probabilities[i]:.0f} %), is {labels[i]}"
                for i in surest]
    if not captions:
        figure = Figure(figsize=(4, 1))
        figure.text(0.5, 0.5, f"none of {len(images)} is wrong", ha="center", va="center")
        return figure
    return _captioned(images[surest], captions, [True] * len(surest), columns=5, gap=0.56)


def first_layer(W1, count=64):
    """Draw what the units of the first layer look for: their weights, pixel by pixel.

    Parameters
    ----------
    W1 : ndarray of float, shape (784, num_hidden)
    count : int, default 64
        Draw at most so many units, those whose weights have the largest norms.

    Returns
    -------
    matplotlib.figure.Figure
        One colour scale for all, symmetric around 0; the largest 0.5 % of the weights lie beyond.

    Raises
    ------
    InputError
        If the shape is another, or the count less than 1.
    """
    W1 = np.asarray(W1)
    if W1.ndim != 2 or W1.shape[0] != SIDE * SIDE or not W1.size:
        raise InputError(f"expected weights of shape ({SIDE * SIDE}, num_hidden), "
                         f"found {W1.shape}")
    check_count(count)
    largest = np.argsort(-np.linalg.norm(W1, axis=0), kind="stable")[:count]
    images = W1.T[largest].reshape(-1, SIDE, SIDE)
    limit = np.quantile(abs(images), 0.995) or 1  # lest a few weights make all others pale
    figure, cells = _grid(len(images), 16, side=3 * SIDE / DPI, gap=0.08, under=0.08, right=0.8)
    for axes, image in zip(cells, images):
        shown = _show(axes, image, (-limit, limit), "RdBu_r")
    first, last = cells[0].get_position(), cells[-1].get_position()
    width = 0.12 / figure.get_figwidth()
    right = max(axes.get_position().x1 for axes in cells)
    bar = figure.add_axes([right + width, last.y0, width, first.y1 - last.y0])
    figure.colorbar(shown, cax=bar, extend="both").outline.set_visible(False)
    return figure


def check_path(path):
    """Raise an `InputError` if a figure cannot be saved at `path`; change nothing."""
    check_writable(path, *DATES)


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
        If the path ends otherwise.
    mlp_mx.files.WriteError
        If it cannot be written to.
    """
    import matplotlib

    suffix = check_suffix(path, *DATES)
    # The salt, for the time of writing, keeps random names out of SVG files.
    with whole_file(path) as file, matplotlib.rc_context({"svg.hashsalt": "mlp_mx"}):
        figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=DATES[suffix])


def _as_images(images):
    images = np.asarray(images)
    if images.shape[1:] != (SIDE, SIDE) or not len(images) or images.dtype.kind not in "buif":
        raise InputError(f"expected images of shape (n, {SIDE}, {SIDE}), n at least 1, and of real "
                         f"numbers; found {images.shape} of {images.dtype}")
    return images


def check_count(count):
    """Raise an `InputError` if a figure cannot show so many digits."""
    if not 1 <= count <= MOST:
        raise InputError(f"expected 1 to {MOST} digits to draw, found {count}")


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
    """The probability of each predicted class, shape (n,), given those or the ones of all."""
    if probabilities.shape == predictions.shape:
        return probabilities
    if probabilities.ndim != 2 or len(probabilities) != len(predictions):
        raise InputError(f"expected probabilities of shape ({len(predictions)}, num_classes), "
                         f"found {probabilities.shape}")
    _as_classes(predictions, len(predictions), "predictions", probabilities.shape[1])
    return probabilities[np.arange(len(predictions)), predictions]


def _shortened(caption, width=26):
    """A caption whose every line fits under a pair of images, and can be drawn."""
    half = width // 2
    lines = ["".join(char if char.isprintable() else "?" for char in line)  # file names have any
             for line in caption.split("\n")]
    return "\n".join(line if len(line) <= width else f"{line[:half]}…{line[-half:]}"
                     for line in lines)


def _grid(count, columns, side=4 * SIDE / DPI, gap=0.16, under=0.3, right=0):
    """A figure with `count` square axes, `columns` in a row.

    Lengths are in inches: `side` of the axes, `gap` between two, room `under` each and to the
    `right` of all. A pixel of an image is a whole number of pixels of a PNG file.
    """
    from matplotlib.figure import Figure

    top = 0.08
    columns = min(count, columns)
    rows = -(-count // columns)
    size = np.array([columns * (side + gap) + right, rows * (side + under) + top])
    figure = Figure(figsize=size)
    cells = []
    for place in range(count):
        row, column = divmod(place, columns)
        corner = column * (side + gap) + gap / 2, (rows - row) * (side + under) - side
        cells.append(figure.add_axes([*(corner / size), *(side / size)]))
    return figure, cells


def _show(axes, image, limits, cmap="gray"):
    """Show an image without a frame around it."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    # Large pictures are smoothed, small ones keep their pixels.
    interpolation = "nearest" if image.shape == (SIDE, SIDE) else "antialiased"
    return axes.imshow(image, cmap, vmin=limits[0], vmax=limits[1], interpolation=interpolation)


def _captioned(images, captions, wrong, columns=COLUMNS, gap=0.16):
    """Digits with captions under them, the wrong ones in red."""
    figure, cells = _grid(len(images), columns, gap=gap)
    for axes, image, caption, is_wrong in zip(cells, images, captions, wrong):
        _show(axes, image, (images.min(), images.max()))
        axes.set_xlabel(caption)
        if is_wrong:
            axes.xaxis.label.set_color(VERMILION)
    return figure


def _plot_curve(axes, epochs, curve, published, color, marker, label):
    """Plot a curve and, dashed, what has been published for the same epochs."""
    marker = marker if len(epochs) <= 30 else None
    axes.plot(epochs, curve, color=color, marker=marker, markersize=4, label=label)
    for number, run in enumerate(published):
        known = [epoch for epoch in epochs if 0 <= epoch < len(run)]
        if not known:
            continue
        axes.plot(known, [run[epoch] for epoch in known], color=color, alpha=0.6, linestyle="--",
                  linewidth=1, marker=marker, markersize=2,
                  label="_" if number else f"{label}, published")


def _finish_loss(axes, span):
    """Label the loss panel, and make it logarithmic if the losses `span` a large factor."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    _finish(axes, "loss, nats an example")
    if span > 10:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1000 else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))


def _finish_accuracy(axes, start):
    """Label the accuracy panel, and fit it to what the lines have from epoch `start` on."""
    from matplotlib.ticker import FuncFormatter

    _finish(axes, "accuracy")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda accuracy, _: f"{100 * accuracy:g} %"))
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

"""Glyphs, the embedded data set: digits drawn from the outlines of Matplotlib's own fonts.

For machines without MNIST and without a network. 60 000 training and 10 000 test images of 28 x 28
grey pixels, white on black, fitted into 20 x 20 and centred by mass as MNIST's are. The test images
come from other fonts than the training images.

Each outline becomes a field of signed distances, once. An image looks its pixels up in that field,
through a random rotation, shear, scale and elastic warp; how near to the outline a pixel lies is
what makes it white, so that stroke weight and blur are an offset and a factor.
"""

import gzip
import io
import os
import pathlib
import struct
import warnings

import numpy as np

from .. import Error, InputError
from .._support.files import WriteError, whole_file
from .._support.progress import steps
from . import mnist

__all__ = ["contact_sheet", "generate", "load", "write_mnist_files"]

VERSION = 1  # of the images: to be raised when they change, so that no old ones are read back
SIZES = {"train": 60000, "test": 10000}
# Those whose digits have the same outlines in all versions of Matplotlib.
FONTS = {
    "train": (
        "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono",
        "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique", "DejaVuSerif", "STIXGeneral",
        "STIXGeneralItalic", "STIXGeneralBolIta", "cmb10", "cmmi10", "cmr10", "cmtt10",
    ),
    "test": (
        "DejaVuSans-Oblique", "DejaVuSansMono-Bold", "DejaVuSerif-Bold", "STIXGeneralBol", "cmss10",
    ),
}
CHUNK = 500  # images drawn at a time; each chunk has a random stream of its own
BOX = 20  # pixels that a digit is fitted into
SIDE = 28  # pixels of an image
GRID = 49  # samples along each side of a distance field,
SPACING = 1 / 32  # this far apart, where 1 is the size of the digit


def _outline(font, digit, steps=4):
    """The outline as line segments, shape (num_segments, 2, 2), centred, its longer side 1."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    file = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    if not os.path.exists(file):
        raise Error(f"this Matplotlib, {matplotlib.__version__}, lacks the font {font}")
    path = TextPath((0, 0), str(digit), size=100, prop=FontProperties(fname=file))
    t = np.linspace(0, 1, steps + 1)[1:, None]
    segments, last = [], None
    for points, code in path.iter_segments(simplify=False):
        points = points.reshape(-1, 2)
        if code == path.MOVETO:
            first = last = points[0]
            continue
        if code == path.CLOSEPOLY:
            line = first[None]
        elif code == path.CURVE3:  # quadratic Bézier curves, as in all TrueType fonts
            line = (1 - t) ** 2 * last + 2 * t * (1 - t) * points[0] + t ** 2 * points[1]
        else:
            line = points
        for point in line:
            segments.append((last, point))
            last = point
    segments = np.array(segments)
    low, high = segments.min(axis=(0, 1)), segments.max(axis=(0, 1))
    return (segments - (low + high) / 2) / (high - low).max()


def _distance_field(segments):
    """Signed distances to an outline, negative inside, shape (GRID, GRID), rows from the bottom."""
    axis = (np.arange(GRID) - GRID // 2) * SPACING
    x, y = axis[None, :, None], axis[:, None, None]
    (x0, y0), (x1, y1) = segments[:, 0].T, segments[:, 1].T
    dx, dy = x1 - x0, y1 - y0
    length = dx * dx + dy * dy
    px, py = x - x0, y - y0
    t = np.clip((px * dx + py * dy) / np.where(length, length, 1), 0, 1)
    distance = np.sqrt(((px - t * dx) ** 2 + (py - t * dy) ** 2).min(axis=2))
    # The winding number: how often the outline crosses the ray to the right, upwards or downwards.
    crosses = (y0 <= y) != (y1 <= y)
    right_of_point = (dx * py - dy * px) * np.sign(dy) < 0
    winding = (np.sign(dy) * (crosses & ~right_of_point)).sum(axis=2)
    return np.where(winding != 0, -distance, distance)


def _outermost(segments, directions=32):
    """The points of an outline that are farthest out in each of some directions."""
    angle = 2 * np.pi * np.arange(directions) / directions
    points = segments[:, 1]
    reach = points[:, :1] * np.cos(angle) + points[:, 1:] * np.sin(angle)
    return points[reach.round(9).argmax(axis=0)]  # rounded, so that ties are ties on any machine


def _spread(points=4):
    """Weights that spread `points` control values smoothly over the box, shape (BOX, points)."""
    distance = abs(np.linspace(0, points - 1, BOX)[:, None] - np.arange(points))
    return np.where(distance < 1, (1 + 2 * distance) * (1 - distance) ** 2, 0)


class _Press:
    """Prints random variations of the digits of some fonts."""

    def __init__(self, fonts):
        outlines = [_outline(font, digit) for font in fonts for digit in range(10)]
        fields = np.stack([_distance_field(outline) for outline in outlines])
        self._fields = fields.ravel()
        self._half_stroke = -fields.min(axis=(1, 2))  # of the widest stroke
        self._outermost = np.stack([_outermost(outline) for outline in outlines])
        self._num_fonts = len(fonts)
        self._spread = _spread()

    def print(self, label, random):
        """Draw one image for each label.

        Parameters
        ----------
        label : ndarray of int, shape (n,)
        random : numpy.random.RandomState

        Returns
        -------
        ndarray of uint8, shape (n, 28, 28)
        """
        n = len(label)
        glyph = random.randint(self._num_fonts, size=n) * 10 + label
        # Pixels by which the strokes are widened, over which they fade, and are roughened.
        pen = random.uniform(1.0, 2.0, n) - BOX * self._half_stroke[glyph]
        weight = np.clip(pen, -0.3, 1.0)
        blur = random.uniform(1.0, 2.0, n)
        grain = np.frombuffer(random.bytes(n * BOX * BOX), np.uint8).reshape(n, BOX, BOX)
        rough = _each(random.uniform(0, 0.8, n)) * (grain / 255 - 0.5)
        # From glyph to page: slant and turn it, then fit what the strokes will touch into the box.
        (a, b), (c, d) = _slant(random, n)
        x, y = np.moveaxis(self._outermost[glyph], 2, 0)
        x, y = _each(a, 2) * x + _each(b, 2) * y, _each(c, 2) * x + _each(d, 2) * y
        size = np.maximum(np.ptp(x, axis=1), np.ptp(y, axis=1))
        scale = (BOX - 1 - 2 * weight - blur) / size
        # And back, for each pixel of the box.
        page_x, page_y = self._bent_grid(random, n)
        page_x = page_x / _each(scale) + _each(x.max(axis=1) + x.min(axis=1)) / 2
        page_y = page_y / _each(scale) + _each(y.max(axis=1) + y.min(axis=1)) / 2
        a, b, c, d = (_each(entry / (a * d - b * c)) for entry in (a, b, c, d))
        distance = self._look_up(glyph, d * page_x - b * page_y, a * page_y - c * page_x)
        white = 0.5 + (_each(weight) + rough - distance * _each(scale)) / _each(blur)
        return _centred(np.floor(255 * np.clip(white, 0, 1) + 0.5).astype(np.uint8))

    def _bent_grid(self, random, n):
        """Pixel centres of the box, elastically displaced: x and y, each shape (n, BOX, BOX)."""
        bend = self._spread @ random.uniform(-1.8, 1.8, (n, 2, 4, 4)) @ self._spread.T
        axis = np.arange(BOX) - (BOX - 1) / 2
        return axis + bend[:, 0], -axis[:, None] + bend[:, 1]

    def _look_up(self, glyph, x, y):
        """Interpolate the distance fields at points (x, y), each shape (n, BOX, BOX)."""
        x = np.clip(x / SPACING + GRID // 2, 0, GRID - 1.001)
        y = np.clip(y / SPACING + GRID // 2, 0, GRID - 1.001)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x -= column
        y -= row
        at = (_each(glyph) * GRID + row) * GRID + column
        below = self._fields[at] * (1 - x) + self._fields[at + 1] * x
        above = self._fields[at + GRID] * (1 - x) + self._fields[at + GRID + 1] * x
        return below * (1 - y) + above * y


def _each(values, dimensions=3):
    """Give one value an image the shape to be combined with what has more dimensions."""
    return values.reshape(-1, *[1] * (dimensions - 1))


def _slant(random, n):
    """Random matrices that stretch, shear and rotate, as four entries of shape (n,)."""
    angle, shear = random.uniform(-0.35, 0.35, (2, n))
    stretch = random.uniform(0.75, 1.3, n)
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * stretch, cos * shear - sin), (sin * stretch, sin * shear + cos)


def _centred(boxes):
    """Paste each box into an image so that its centre of mass lies in the middle, as MNIST's."""
    axis = np.arange(BOX)

    def places(mass):
        """Where rows, or columns, of these masses go: shape (n, BOX)."""
        centre = (mass * axis).sum(axis=1) / mass.sum(axis=1)
        return np.rint(SIDE / 2 - centre).astype(int)[:, None] + axis + BOX

    rows, columns = places(boxes.sum(axis=2)), places(boxes.sum(axis=1))
    # With a margin all around, because an empty edge of the box may lie outside of the image.
    images = np.zeros((len(boxes), SIDE + 2 * BOX, SIDE + 2 * BOX), np.uint8)
    images[_each(np.arange(len(boxes))), rows[:, :, None], columns[:, None, :]] = boxes
    return images[:, BOX:-BOX, BOX:-BOX]


def generate(split="train", num_examples=None, progress=False):
    """Draw the images of one half of the data set.

    Parameters
    ----------
    split : {"train", "test"}, default "train"
    num_examples : int, optional
        Draw only the first so many; by default 60 000 or 10 000.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    images : ndarray of uint8, shape (num_examples, 28, 28)
        0 is black, 255 is white.
    labels : ndarray of uint8, shape (num_examples,)
        In random order; among each 500, each digit as often as any other.

    Notes
    -----
    The images are the same on every machine. They are computed in float64 and rounded to uint8 at
    the end; a difference of a few units in the last place, such as another library's sine may make,
    changes a pixel with a probability of about 1e-13.
    """
    if split not in SIZES:
        raise InputError(f"expected a split {' or '.join(map(repr, SIZES))}, found {split!r}")
    num_examples = SIZES[split] if num_examples is None else num_examples
    press = _Press(FONTS[split])
    num_chunks = -(-num_examples // CHUNK)
    images = np.empty((num_chunks, CHUNK, SIDE, SIDE), np.uint8)
    labels = np.empty((num_chunks, CHUNK), np.uint8)
    for chunk in steps(range(num_chunks), progress, desc=f"drawing glyphs ({split})"):
        random = np.random.RandomState([list(SIZES).index(split), chunk])
        labels[chunk] = random.permutation(np.arange(CHUNK) % 10)
        images[chunk] = press.print(labels[chunk], random)
    return images.reshape(-1, SIDE, SIDE)[:num_examples], labels.ravel()[:num_examples]


def load(data_dir=None, progress=False):
    """Load the data set from the data directory; the first time, draw it and keep it there.

    Parameters
    ----------
    data_dir : path-like, optional
        See `mlp_mx.data.mnist.folder`. Where it cannot be written to, nothing is kept, with a
        warning.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    (train_images, train_labels), (test_images, test_labels)
        As `generate` returns them.

    Raises
    ------
    InputError
        If the data directory is something else than a folder.
    """
    folder = mnist.folder(data_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder; name another one with --data-dir")
    path = folder / f"glyphs-{VERSION}.npz"
    try:
        return _read(path)
    except Exception:  # it is absent, or damaged in one of the many ways of a ZIP archive
        splits = {split: generate(split, progress=progress) for split in SIZES}
    archive = io.BytesIO()  # a ZipFile that is left on a full disk complains to standard error
    np.savez(archive, **{f"{split}_{kind}": array for split, arrays in splits.items()
                         for kind, array in zip(("images", "labels"), arrays)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(archive.getbuffer())
    except (OSError, WriteError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"glyphs cannot be kept in {folder} ({reason}), and will be drawn anew each "
                      "time", stacklevel=2)
    return splits["train"], splits["test"]


def _read(path):
    # NumPy's archives are ZIP archives, in which reading checks the CRC of what is read.
    with open(path, "rb") as file, np.load(file) as arrays:
        splits = tuple((arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SIZES)
    for (images, labels), size in zip(splits, SIZES.values()):
        if (images.shape, labels.shape) != ((size, SIDE, SIDE), (size,)):
            raise ValueError("not the shapes of this data set")
    return splits


def contact_sheet(images, labels):
    """Lay out the first twenty images of each digit, one digit a row.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of uint8, shape (n,)
        At least twenty of each digit.

    Returns
    -------
    ndarray of uint8, shape (560, 1120)
        Two by two pixels for one.
    """
    rows = [np.hstack(images[labels == digit][:20]) for digit in range(10)]
    return np.vstack(rows).repeat(2, axis=0).repeat(2, axis=1)


def write_mnist_files(folder, splits):
    """Write the data set as four files in MNIST's format, under MNIST's names.

    Parameters
    ----------
    folder : path-like
        Made if need be. No other file than these is overwritten.
    splits
        What `load` returns.

    Raises
    ------
    InputError
        If a file has one of the names and other content, or the folder cannot be made or read.
    mlp_mx._support.files.WriteError
        If a file cannot be written.
    """
    folder = pathlib.Path(folder).expanduser()
    contents = [_mnist_format(array) for split in splits for array in split]
    paths = [folder / name for name in mnist.FILES]  # in the same order
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, contents):
            if path.exists() and path.read_bytes() != content:
                raise InputError(f"{path} exists, and may be MNIST's own; name another folder")
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror}") from error
    for path, content in zip(paths, contents):
        with whole_file(path) as file:
            file.write(content)


def _mnist_format(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)  # 8 stands for uint8
    return gzip.compress(header + array.tobytes(), compresslevel=6, mtime=0)

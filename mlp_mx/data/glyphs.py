"""Glyphs: a data set of digits drawn from Matplotlib's fonts, for machines without MNIST.

60 000 training and 10 000 test images of 28 x 28 grey pixels, white on black, fitted into 20 x 20
and centred by mass as in MNIST. Training and test images come from different fonts.

Each digit of each font becomes a signed distance field, once. An image samples that field through a
random rotation, shear, stretch and elastic warp. Stroke weight is added to the distances, and blur
divides them.
"""

import hashlib
import io
import os
import warnings

import numpy as np

from .._support.drawing import import_matplotlib
from .._support.errors import Error, InputError
from .._support.files import WriteError, open_regular, whole_file
from .._support.progress import steps
from . import mnist
from .form import BOX, SIDE, centred

__all__ = ["generate", "load"]

VERSION = 1  # in the file's name; increase it when the images change
SIZES = {"train": 60000, "test": 10000}
DIGEST = "02db56bebcf220a59c3bf63bcc1dfacfca757f884868fe6ce65f59e8a7d9d3bc"  # see _digest
# Their digits have the same outlines in all versions of Matplotlib.
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
CHUNK = 500  # images drawn at a time, from a random stream of their own
GRID = 49  # samples along each side of a distance field
SPACING = 1 / 32  # between samples; a digit's longer side is 1


def _outline(font, digit, steps=4):
    """A digit's outline as line segments, shape (num_segments, 2, 2), scaled and centred."""
    matplotlib = import_matplotlib()
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    file = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    if not os.path.exists(file):
        raise Error(f"this Matplotlib, {matplotlib.__version__}, lacks the font {font}")
    path = TextPath((0, 0), str(digit), size=100, prop=FontProperties(fname=file))
    t = np.linspace(0, 1, steps + 1)[1:, None]
    segments, last = [], None
    for points, code in path.iter_segments(simplify=False):
        line = points.reshape(-1, 2)
        if code == path.MOVETO:
            first = last = line[0]
            continue
        if code == path.CLOSEPOLY:
            line = first[None]
        elif code == path.CURVE3:  # TrueType's quadratic Bézier curves
            line = (1 - t) ** 2 * last + 2 * t * (1 - t) * line[0] + t ** 2 * line[1]
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
    # Winding numbers: upward minus downward crossings of the ray to the right.
    crosses = (y0 <= y) != (y1 <= y)
    right_of_point = (dx * py - dy * px) * np.sign(dy) < 0
    winding = (np.sign(dy) * (crosses & ~right_of_point)).sum(axis=2)
    return np.where(winding != 0, -distance, distance)


def _outermost(segments, directions=32):
    """The points of an outline that are farthest out in each direction."""
    angle = 2 * np.pi * np.arange(directions) / directions
    points = segments[:, 1]
    reach = points[:, :1] * np.cos(angle) + points[:, 1:] * np.sin(angle)
    return points[reach.round(9).argmax(axis=0)]  # rounded: ties must be ties on any machine


class _Renderer:
    """Draws random variations of some fonts' digits, n at once.

    Numbers, one per image, have shape (n, 1, 1).
    """

    def __init__(self, fonts):
        outlines = [_outline(font, digit) for font in fonts for digit in range(10)]
        fields = np.stack([_distance_field(outline) for outline in outlines])
        self._fields = fields.ravel()
        self._half_stroke = -fields.min(axis=(1, 2))  # of the widest stroke
        self._outermost = np.stack([_outermost(outline) for outline in outlines])
        self._num_fonts = len(fonts)

    def render(self, label, random):
        """Draw an image for each of n labels: uint8, shape (n, 28, 28)."""
        n = len(label)
        glyph = (random.randint(self._num_fonts, size=n) * 10 + label)[:, None, None]
        weight, blur, roughness = self._strokes(glyph, random)
        (a, b), (c, d) = _slant(random, n)
        # From glyph to page, where the strokes and their blur must fit into the box.
        x, y = np.moveaxis(self._outermost[glyph[:, 0]], 3, 0)
        (x, width), (y, height) = _middle_and_size(a * x + b * y), _middle_and_size(c * x + d * y)
        scale = (BOX - 1 - 2 * weight - blur) / np.maximum(width, height)
        # And back, for each pixel of the box.
        page_x, page_y = _bent_grid(random, n)
        page_x, page_y = page_x / scale + x, page_y / scale + y
        a, b, c, d = (entry / (a * d - b * c) for entry in (a, b, c, d))
        distance = self._distances(glyph, d * page_x - b * page_y, a * page_y - c * page_x)
        white = 0.5 + (weight + roughness - distance * scale) / blur
        return centred(np.floor(255 * np.clip(white, 0, 1) + 0.5).astype(np.uint8))

    def _strokes(self, glyph, random):
        """Added weight, blur, and roughness, shape (n, BOX, BOX): all in pixels."""
        n = len(glyph)
        pen = random.uniform(1.0, 2.0, glyph.shape) - BOX * self._half_stroke[glyph]
        blur = random.uniform(1.0, 2.0, glyph.shape)
        grain = np.frombuffer(random.bytes(n * BOX * BOX), np.uint8).reshape(n, BOX, BOX)
        roughness = random.uniform(0, 0.8, glyph.shape) * (grain / 255 - 0.5)
        return np.clip(pen, -0.3, 1.0), blur, roughness

    def _distances(self, glyph, x, y):
        """Interpolate distance fields at x and y, each of shape (n, BOX, BOX)."""
        x = np.clip(x / SPACING + GRID // 2, 0, GRID - 1.001)
        y = np.clip(y / SPACING + GRID // 2, 0, GRID - 1.001)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x -= column
        y -= row
        at = (glyph * GRID + row) * GRID + column
        below = self._fields[at] * (1 - x) + self._fields[at + 1] * x
        above = self._fields[at + GRID] * (1 - x) + self._fields[at + GRID + 1] * x
        return below * (1 - y) + above * y


def _slant(random, n):
    """Random matrices that stretch, shear and rotate, as four entries of shape (n, 1, 1)."""
    angle, shear = random.uniform(-0.35, 0.35, (2, n, 1, 1))
    stretch = random.uniform(0.75, 1.3, (n, 1, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * stretch, cos * shear - sin), (sin * stretch, sin * shear + cos)


def _bent_grid(random, n, points=4):
    """x and y of the box's pixels, randomly warped: each of shape (n, BOX, BOX)."""
    distance = abs(np.linspace(0, points - 1, BOX)[:, None] - np.arange(points))
    weights = np.where(distance < 1, (1 + 2 * distance) * (1 - distance) ** 2, 0)
    bend = weights @ random.uniform(-1.8, 1.8, (n, 2, points, points)) @ weights.T
    axis = np.arange(BOX) - (BOX - 1) / 2
    return axis + bend[:, 0], -axis[:, None] + bend[:, 1]


def _middle_and_size(values):
    """The middle and the extent of coordinates along the last axis."""
    low, high = values.min(axis=2, keepdims=True), values.max(axis=2, keepdims=True)
    return (high + low) / 2, high - low


def generate(split="train", num_examples=None, progress=False):
    """Draw the training or test images, the same ones on every machine.

    They are computed in float64 and rounded to uint8 at the end, so rounding errors that differ
    between machines change a pixel with a probability of about 1e-13.

    Parameters
    ----------
    split : {"train", "test"}, default "train"
    num_examples : int, optional
        Draw only this many; by default 60 000 or 10 000.
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    images : ndarray of uint8, shape (num_examples, 28, 28)
    labels : ndarray of uint8, shape (num_examples,)
        In random order; every 500 contain each digit 50 times.
    """
    if split not in SIZES:
        raise InputError(f"expected the split 'train' or 'test', found {split!r}")
    num_examples = SIZES[split] if num_examples is None else num_examples
    renderer = _Renderer(FONTS[split])
    num_chunks = -(-num_examples // CHUNK)
    images = np.empty((num_chunks, CHUNK, SIDE, SIDE), np.uint8)
    labels = np.empty((num_chunks, CHUNK), np.uint8)
    for chunk in steps(range(num_chunks), progress, desc=f"drawing glyphs ({split})"):
        random = np.random.RandomState([list(SIZES).index(split), chunk])
        labels[chunk] = random.permutation(np.arange(CHUNK) % 10)
        images[chunk] = renderer.render(labels[chunk], random)
    return images.reshape(-1, SIDE, SIDE)[:num_examples], labels.ravel()[:num_examples]


def load(data_dir=None, progress=False):
    """Load both splits, as `generate` returns them, from `mlp_mx.data.mnist.folder`.

    The first time, they are drawn and saved there; a damaged file is replaced. If the folder cannot
    be written to, this warns. If it is not a folder, or if its file is intact but holds something
    else, this raises an `InputError`.
    """
    folder = mnist.folder(data_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder; {mnist.CURE}")
    path = folder / f"glyphs-{VERSION}.npz"
    try:
        return _read(path)
    except InputError:
        raise
    except Exception:  # missing, or damaged: ZIP archives fail in many ways
        splits = {split: generate(split, progress=progress) for split in SIZES}
    try:
        if _digest(splits.values()) != DIGEST:
            raise WriteError("this Matplotlib or NumPy draws them differently")
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, splits)
    except (OSError, WriteError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"glyphs cannot be saved in {folder} ({reason}); they will be drawn again "
                      "next time", stacklevel=2)
    return splits["train"], splits["test"]


def _write(path, splits):
    archive = io.BytesIO()  # on a full disk, a ZipFile would write to standard error
    np.savez(archive, **{f"{split}_{kind}": array for split, arrays in splits.items()
                         for kind, array in zip(("images", "labels"), arrays)})
    with whole_file(path) as file:
        file.write(archive.getbuffer())


def _read(path):
    """Return the splits in a file; raise an `InputError` if it is intact, but not the glyphs."""
    names = [f"{split}_{kind}" for split in SIZES for kind in ("images", "labels")]
    room = 4096 + sum(SIZES.values()) * (SIDE * SIDE + 1)
    # .npz files are ZIP archives, so reading an array checks its CRC.
    with open_regular(path) as file, np.load(file) as arrays:
        size = sum(member.file_size for member in arrays.zip.infolist())  # before any is read
        if sorted(arrays.files) == sorted(names) and size < room:
            train_images, train_labels, test_images, test_labels = (arrays[name] for name in names)
            splits = (train_images, train_labels), (test_images, test_labels)
            if _digest(splits) == DIGEST:
                return splits
    raise InputError(f"{path} is intact but holds something other than glyphs; move it, or "
                     f"{mnist.CURE}")


def _digest(splits):
    """SHA-256 of the shapes, types and values of both splits, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in (array for split in splits for array in split):
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()

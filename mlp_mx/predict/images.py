"""Normalise a user's picture of one digit as MNIST was.

Each digit is scaled to fit 20 x 20 pixels, keeping its aspect ratio, and its centre of mass is
put in the middle of 28 x 28, white on black. In a photograph, the ink is first separated from the
paper.
"""

import os
import stat
import warnings

import numpy as np
from PIL import Image, ImageOps

from .. import InputError

__all__ = ["ImageError", "ink", "read", "to_mnist"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow's EPS would run a program
HEIC = [b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")]
MAX_PIXELS = 64_000_000
LARGE = 2048  # pixels along the longer side: larger pictures are reduced when they are read
SIDE = 28  # pixels of an image of MNIST's,
BOX = 20  # and of the square in it that a digit is fitted into
FINE = 4  # samples a pixel, along each axis, for the width of the strokes
WIDTHS = (1.6, 5.0)  # pixels of that square: thinner strokes are made thicker, thicker ones thinner
SOLID = 6.2  # pixels of that square, which no strokes of a digit are wide
UNEVEN = 2.7  # times the width of the strokes, which they are nowhere in a digit
PIECES = 4  # that a digit may be broken into
BUSY = 0.12  # of the ink: how much of it the rest of a picture of one digit hardly has
GAP = 0.2  # between parts of one digit, where 1 is its height
WIDEST = 3  # times as wide as high; no digit of MNIST's test set is more than twice
WORK = 512  # pixels along the longer side that a picture is reduced to,
COARSE = 64  # and its background
EDGE = 0.2  # of a picture: so far from its sides may a table, a frame or a margin line reach
MIN_CONTRAST = 12  # grey levels, of 255, between a digit and its background
NOISE = 8  # times the noise that a digit has to stand out
MIN_AREA = 8  # pixels of the ink that is found
BLANK = ("expected one digit that stands out from its background, found a blank picture; write it "
         "larger or darker")
SEVERAL = "expected one digit, found several things; crop the picture to one"


class ImageError(InputError):
    """The file is not a picture, or the picture does not show one digit."""


def read(path):
    """Read a picture as a viewer shows it: EXIF rotation applied, transparency on a background.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, GIF, BMP, TIFF or WebP, in any colour mode; only the first frame is read.

    Returns
    -------
    ndarray of uint8, shape (height, width)
        Grey levels, 255 is white. If the longer side exceeds 2048 pixels, square blocks are
        averaged, to save memory.

    Raises
    ------
    ImageError
        If the file is missing, damaged, too large or not a picture.
    """
    try:
        _check_file(path, os.stat(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of pictures that are refused below
            with Image.open(path, formats=FORMATS) as picture:
                _check_size(path, *picture.size)
                picture.draft(None, (LARGE, LARGE))  # which JPEG files are decoded smaller for
                return _grey(ImageOps.exif_transpose(_smaller(picture)))
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, found many "
                         "more; scale it down") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: expected a picture ({', '.join(FORMATS)}), found "
                         f"{_kind(path)}; convert it") from error
    except Exception as error:  # a damaged file can make what decodes it raise anything
        if getattr(error, "strerror", None):
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path} is damaged: {reason}; use another copy of it") from error


def _check_file(path, status):
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: expected a picture, found a folder; name the files in it")
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
        raise ImageError(f"{path}: expected a picture in a file, found a pipe or a device")
    if not status.st_size:
        raise ImageError(f"{path}: expected a picture, found an empty file; use another copy of it")


def _kind(path):
    with open(path, "rb") as file:
        header = file.read(12)
    return "HEIC" if header[4:] in HEIC else "something else"


def _check_size(path, width, height):
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, found "
                         f"{width} x {height} pixels; scale it down")


def _smaller(picture):
    """Average square blocks of a large picture's pixels, before any copies of it are made."""
    factor = -(-max(picture.size) // LARGE)
    if factor == 1:
        return picture
    if picture.mode.startswith("I;"):
        picture = picture.convert("I")
    elif picture.mode in ("1", "P", "PA") or "transparency" in picture.info:  # have no averages
        picture = picture.convert("RGBA" if _has_alpha(picture) else "RGB")
    return picture.reduce(factor)


def _has_alpha(picture):
    return "A" in picture.getbands() or "transparency" in picture.info


def _grey(picture):
    if picture.mode[0] in "IF":  # wider than 8 bits, which Pillow's own conversion cuts off at 255
        values = np.nan_to_num(np.asarray(picture))
        if values.max() > 255 and picture.mode != "F":
            values = values >> 8
        elif values.max() <= 1 and picture.mode == "F":
            values = values * 255
        return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    if _has_alpha(picture):
        return _opaque(picture.convert("RGBA").convert("LA"))
    return np.asarray(picture.convert("RGB").convert("L"))


def _opaque(picture):
    """Lay a picture on white or, where that would hide a light drawing on nothing, on black."""
    grey, alpha = (band.astype(np.float32) for band in np.moveaxis(np.asarray(picture), 2, 0))
    alpha /= 255
    is_light = (grey * alpha).sum() > 128 * alpha.sum()
    paper = 0 if is_light and alpha.mean() < 0.5 else 255
    return np.rint(grey * alpha + paper * (1 - alpha)).astype(np.uint8)


def ink(image):
    """Separate the ink, dark on light or light on dark, from the paper.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)

    Returns
    -------
    ndarray of float32
        How much each pixel differs from the background, in grey levels: positive in ink, about 0
        elsewhere. Large pictures are reduced, and what lies beyond a straight edge along a side
        is cropped.
    """
    image = _trimmed(_reduce(np.ascontiguousarray(image), WORK))
    coarse = _reduce(image, COARSE)
    plain = _paper(coarse)
    outside = _outside(coarse - plain)
    coarse = np.where(outside, plain, coarse)
    outside = _resize(outside.astype(np.float32), image.shape) > 0
    image = np.where(outside, _resize(plain, image.shape), image)
    difference = coarse - plain
    # Strokes are narrow, shadows are wide; ink also differs from paper by more, hence the cubes.
    narrow = np.pad(difference, max(difference.shape) // 3)
    narrow = narrow - _blur(narrow, max(difference.shape) // 5)
    sign = 1 if (narrow ** 3).sum() > 0 else -1
    difference *= sign
    beyond = np.where(difference > 0.5 * difference.max(), plain, coarse)
    background = sign * _filled(sign * coarse, sign * beyond)
    background = _resize(background, image.shape)
    if sign < 0:  # where there is less light, dark ink differs less from the paper
        image = image * (background.max() / np.maximum(background, 1))
        background = background.max()
    return sign * (image - background)


def _reduce(image, limit):
    """Average square blocks of pixels, so that the longer side has at most `limit`; to float32."""
    factor = -(-max(image.shape) // limit)
    return np.asarray(Image.fromarray(image).convert("F").reduce(factor))


def _trimmed(image):
    """Cut off what lies beyond a straight edge along a side: a table, a frame, a margin line."""
    least = 0.3 * np.ptp(image)
    for _ in range(4):
        image = np.rot90(image)
        depth, lag = int(EDGE * len(image)), len(image) // 100 + 1
        step = image[lag:depth + lag] - image[:depth]
        low, high = np.percentile(step, [10, 90], axis=1)  # nine tenths of a row agree
        edges = np.flatnonzero(np.maximum(low, -high) > least)
        image = image[edges.max(initial=-lag) + lag:]
    return image


def _outside(difference):
    """Mask of what reaches in from the sides of a picture: a table, a finger, a shadow."""
    labels = _components(np.abs(difference) > 0.3 * np.ptp(difference))
    y, x = (side // 4 for side in labels.shape)
    middle = labels[y:-y or None, x:-x or None]
    bands = labels[:y], labels[-y:], labels[:, :x], labels[:, -x:]
    size = labels.max() + 1
    area, in_middle = (np.bincount(part.ravel(), minlength=size) for part in (labels, middle))
    around = sum(np.bincount(np.unique(band), minlength=size) for band in bands) == 4
    outside = np.zeros(size, bool)
    outside[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    outside &= in_middle < 0.1 * area
    outside &= ~around | (~outside & (area > 4))[1:].any()  # a 0 may fill the picture
    outside[0] = False
    return _grown(outside[labels], 1)


def _resize(image, shape, box=None, filter=Image.BILINEAR):
    return np.asarray(Image.fromarray(image).resize(shape[::-1], filter, box))


def _frame(shape):
    """Mask of the pixels along the edges of a picture, where most is paper."""
    height, width = shape
    edge = np.ones(shape, bool)
    y, x = -(-height // 32), -(-width // 32)
    edge[y:height - y, x:width - x] = False
    return edge


def _paper(image):
    """A plane through the frame of a picture, whatever ink may cross it."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    frame = _frame(image.shape)
    values = image[frame]
    surface = np.full(values.shape, np.median(values))
    for _ in range(20):  # reweighted least squares: what differs much hardly counts
        weight = 1 / np.hypot(values - surface, 16)
        factors = np.linalg.lstsq(terms[frame] * weight[:, None], values * weight, rcond=None)[0]
        surface = terms[frame] @ factors
    return (terms @ factors).astype(np.float32)


def _filled(image, beyond):
    """Remove what stands out of its surroundings and is no wider than a stroke can be.

    The picture goes on outside with what `beyond` has along its edges.
    """
    size = max(image.shape) * 3 // 10 | 1  # odd
    padded = np.pad(beyond, size, mode="edge")
    padded[size:-size, size:-size] = image
    opened = _extreme(_extreme(padded, size, np.min), size, np.max)
    opened = _blur(opened, size // 8)[size:-size, size:-size]
    return opened + np.median((image - opened)[_frame(image.shape)])  # as noise has extremes, too


def _extreme(image, size, extreme):
    """The least or the greatest value in the square of `size` pixels around each; odd size."""
    for _ in range(2):
        padded = np.pad(image, ((size // 2, size // 2), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)
        image = extreme(windows, axis=-1).T
    return image


def _blur(image, radius):
    """The mean of the square around each pixel."""
    size = 2 * radius + 1
    for _ in range(2):
        padded = np.pad(image, ((radius + 1, radius), (0, 0)), mode="edge")
        total = np.cumsum(padded, axis=0, dtype=np.float64)
        image = (total[size:] - total[:-size]).T / size
    return image.astype(np.float32)


def to_mnist(image):
    """Normalise a picture of one digit as MNIST was.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
        Grey levels; the digit may be darker or lighter than its background.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        White on black; the digit fills 20 x 20 pixels in one direction, and its centre of mass is
        in the middle.

    Raises
    ------
    ImageError
        If the picture is blank, shows several things, or shows something that is clearly not a
        digit.
    """
    digit = _fitted(_digit(ink(image)), BOX * FINE)
    return _centred(_fitted(_restroked(digit), BOX))


def _digit(ink):
    """The ink of the one digit, from 0 to 1, cropped."""
    smooth, noise = _smoothed(ink)
    level = _level(smooth, max(NOISE * noise, MIN_CONTRAST))
    found = smooth > max(0.35 * level, 3 * noise)
    mask = _one_digit(found)
    # Faint edges belong to the digit, what was left out of it does not.
    near = _grown(mask, 1.2 * _extent(mask) / BOX) & ~_grown(found & ~mask, 1)
    full = np.percentile(smooth[mask], 75)
    reaches_out = mask[[0, -1]].any() or mask[:, [0, -1]].any()
    if reaches_out and np.percentile(np.abs(np.append(smooth[~near], 0)), 90) > BUSY * full:
        raise ImageError("expected one digit on a plain background, found a busy picture; crop it "
                         "to the digit")
    ys, xs = np.nonzero(near & (smooth > max(0.25 * full, 3 * noise)))
    ink = np.where(near, ink, 0)[ys.min():ys.max() + 1, xs.min():xs.max() + 1]
    return np.clip((ink - noise) / (full - noise), 0, 1)


def _smoothed(ink):
    """Blur noise and fine grids away, no more than needed; return the noise that is left, too."""
    smooth, noise = ink, _noise(ink)
    if noise > 1:
        for share in (150, 75, 50):
            smooth = _blur(ink, max(ink.shape) // share)
            noise = _noise(smooth)
            if smooth.max() > NOISE * noise:
                break
    return smooth, noise


def _noise(ink):
    """The standard deviation of the paper, even where half of the frame is ink."""
    return np.percentile(np.abs(ink[_frame(ink.shape)]), 25) / 0.3186


def _level(ink, least):
    """The typical strength of the ink; of two, the stronger counts more."""
    strong = ink[ink > least]
    if not len(strong):
        raise ImageError(BLANK)
    return (strong ** 3).sum() / (strong ** 2).sum()


def _extent(mask):
    ys, xs = np.nonzero(mask)
    return max(np.ptp(ys), np.ptp(xs)) + 1


def _grown(mask, radius):
    return _blur(mask.astype(np.float32), max(round(radius), 1)) > 1e-6


def _one_digit(mask):
    """Keep the largest piece of ink and the pieces near it, without specks and lines."""
    labels = _components(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    areas[areas < 0.02 * areas.max()] = 0
    lines = [label for label in np.flatnonzero(areas) if _is_line(labels == label)]
    if np.delete(areas, lines).max() > 0.2 * areas.max():  # not a 1
        areas[lines] = 0
    if areas.max() < MIN_AREA:
        raise ImageError(BLANK)
    mask = (areas > 0)[labels]
    if np.count_nonzero(areas > 0.1 * areas.max()) > PIECES:
        raise ImageError(SEVERAL)
    # Of the height, because several digits are mostly side by side.
    gap = GAP * np.count_nonzero(mask.any(axis=1))
    groups = _components(_grown(mask, gap / 2))
    areas = np.bincount(groups[mask])
    largest = areas.argmax()
    mask &= groups == largest
    if np.delete(areas, largest).max(initial=0) > 0.2 * areas[largest] or _side_by_side(mask):
        raise ImageError(SEVERAL)
    if np.count_nonzero(mask.any(axis=0)) > WIDEST * np.count_nonzero(mask.any(axis=1)):
        raise ImageError(f"expected one digit, found something more than {WIDEST} times as wide as "
                         "high; crop the picture to one")
    return mask


def _side_by_side(mask):
    """Whether two pieces are each about as high as both, with nothing but paper between them."""
    columns = _components(mask.any(axis=0)[None])[0]
    heights = [np.ptp(np.nonzero(mask[:, columns == number])[0])
               for number in range(1, columns.max() + 1)]
    return np.count_nonzero(np.array(heights) > 0.6 * max(heights)) > 1


def _is_line(mask):
    """Whether a piece goes straight across the picture, about along its sides."""
    shares = [(np.ptp(places) + 1) / side for places, side in zip(np.nonzero(mask), mask.shape)]
    return max(shares) > 0.9 and min(shares) < 0.1


def _components(mask):
    """Number the connected parts of a mask from 1; corners connect; 0 is outside."""
    change = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[1]
    # Runs of pixels, in order; those in the next row that touch run i are first[i] … last[i] - 1.
    stride = mask.shape[1] + 2
    first = np.searchsorted(row * stride + end, (row + 1) * stride + start, "left")
    last = np.searchsorted(row * stride + start, (row + 1) * stride + end, "right")
    count = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(row)), count)
    below = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    label = np.arange(len(row))
    while (label[above] != label[below]).any():
        low = np.minimum(label[above], label[below])
        np.minimum.at(label, label[above], low)
        np.minimum.at(label, label[below], low)
        label = label[label]
    number = np.unique(label, return_inverse=True)[1] + 1
    steps = np.zeros(change.shape, int)
    steps[row, start] = number
    steps[row, end] = -number
    return np.cumsum(steps, axis=1)[:, :-1]


def _fitted(image, longer):
    """Scale a digit so that its longer side has `longer` pixels, by averaging."""
    step = max(image.shape) / longer
    shape = tuple(int(np.ceil(side / step - 1e-6)) for side in image.shape)
    margin = int(np.ceil(step))
    top, left = (margin + (side - new * step) / 2 for side, new in zip(image.shape, shape))
    box = (left, top, left + shape[1] * step, top + shape[0] * step)
    return _resize(np.pad(image, margin).astype(np.float32), shape, box, Image.BOX)


def _restroked(digit):
    """Make thicker the strokes that would nearly vanish when small, and very thick ones thinner."""
    solid = np.pad(digit > 0.5, 1)
    # Each pixel edge counts, which lengthens an oblique outline by 4 / pi on average.
    outline = np.pi / 4 * sum(np.diff(solid, axis=axis).sum() for axis in (0, 1))
    width = 2 * solid.sum() / max(outline, 1) / FINE
    if width > SOLID:
        raise ImageError("expected a digit made of strokes, found something solid, such as paper "
                         "on a table; crop the picture to the paper around the digit")
    if 2 * _depth(solid) / FINE > UNEVEN * max(width, 1):
        raise ImageError("expected a digit made of even strokes, found other shapes; crop the "
                         "picture to one digit")
    steps = round((np.clip(width, *WIDTHS) - width) * FINE / 2)
    digit = np.pad(digit, max(steps, 0))
    for step in range(abs(steps)):
        digit = _step(digit, np.max if steps > 0 else np.min, step % 2)
    return digit


def _depth(mask):
    """The radius of the largest disc (an octagon, rather) inside a mask."""
    depth = 0
    while mask.any():
        mask = _step(mask, np.min, depth % 2)
        depth += 1
    return depth


def _step(image, extreme, corners):
    """The least or the greatest value of each pixel and its 4 neighbours, or 8 with the corners."""
    padded = np.pad(image, 1)
    shifts = [padded[1 + y:1 + y + image.shape[0], 1 + x:1 + x + image.shape[1]]
              for y in (-1, 0, 1) for x in (-1, 0, 1) if corners or not x * y]
    return extreme(shifts, axis=0)


def _centred(image):
    """Lay an image with its centre of mass in the middle, and make it uint8."""
    image = image / image.max()
    corner = []
    for axis, side in enumerate(image.shape):
        centre = (image.sum(axis=1 - axis) @ np.arange(side)) / image.sum()
        corner.append(int(np.clip(round(SIDE / 2 - centre), 0, SIDE - side)))
    result = np.zeros((SIDE, SIDE), np.uint8)
    y, x = corner
    result[y:y + image.shape[0], x:x + image.shape[1]] = np.rint(255 * image)
    return result

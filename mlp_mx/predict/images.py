"""Normalise a user's picture of one digit as MNIST was.

Each digit is scaled to fit 20 x 20 pixels, keeping its aspect ratio, and its centre of mass is
put in the middle of 28 x 28, white on black. In a photograph, the ink is first separated from the
paper.
"""

import warnings

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from .. import InputError
from .._support.files import open_regular
from ..data.form import BOX, centred

__all__ = ["ImageError", "ink", "read", "to_mnist"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow's EPS would run a program
MAX_PIXELS = 64_000_000
LARGE = 2048  # pixels along the longer side to which larger pictures are reduced when read
WORK = 512  # pixels along the longer side in which the digit is looked for
COARSE = 64  # pixels along the longer side in which the background is looked for
FINE = 4  # samples per pixel, along each axis, of a digit whose strokes are measured
WIDTHS = (1.6, 5.0)  # of strokes, in MNIST's pixels; others are made thicker or thinner
SOLID = 6.2  # of MNIST's pixels; no strokes of a digit are so wide
UNEVEN = 2.45  # no stroke is so many times as wide as the average
PIECES = 4  # into which a digit may be broken
GAP = 0.2  # between the pieces of a digit, in heights of it
WIDEST = 3  # times as wide as high; no digit of MNIST's test set is more than twice
BUSY = 0.12  # of the ink's strength, at most, in the rest of the picture
MIN_CONTRAST = 12  # grey levels, of 255, between a digit and its background
NOISE = 8  # times the noise by which a digit must stand out
MIN_AREA = 8  # pixels of ink
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
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of pictures that are refused below
            with Image.open(file, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                picture.draft(None, (LARGE, LARGE))  # JPEG files can be decoded at a smaller size
                return _grey(ImageOps.exif_transpose(_smaller(picture)))
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, found more; "
                         "scale it down") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: expected a picture ({', '.join(FORMATS)}), found "
                         f"{_kind_of(path)}; convert it") from error
    except Exception as error:  # decoding a damaged file can raise anything
        if getattr(error, "strerror", None):
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path} is damaged: {reason}; use another copy of it") from error


def _kind_of(path):
    """What a file that Pillow cannot read is: HEIC, as phones take pictures, or something else."""
    with open_regular(path) as file:
        header = file.read(12)
    is_heic = header[4:8] == b"ftyp" and header[8:11] in (b"hei", b"hev", b"mif", b"msf")
    return "HEIC" if is_heic else "something else"


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
    # Strokes are narrow, shadows are wide; ink also differs from paper by more, hence the cubes.
    narrow = np.pad(coarse - plain, max(coarse.shape) // 3)
    narrow = narrow - _blur(narrow, max(coarse.shape) // 5)
    sign = 1 if (narrow ** 3).sum() > 0 else -1
    return sign * image - _resize(_filled(sign * coarse), image.shape)


def _reduce(image, limit):
    """Average square blocks of pixels, so that the longer side has at most `limit`; to float32."""
    factor = -(-max(image.shape) // limit)
    return np.asarray(Image.fromarray(image).convert("F").reduce(factor))


def _trimmed(image):
    """Cut off what lies beyond a straight edge along a side: a table, a frame, a margin line."""
    least = 0.3 * np.ptp(image)
    for _ in range(4):
        image = np.rot90(image)
        depth, lag = len(image) // 5, len(image) // 100 + 1
        step = image[lag:depth + lag] - image[:depth]
        low, high = np.percentile(step, [10, 90], axis=1)  # nine tenths of a row agree
        edges = np.flatnonzero(np.maximum(low, -high) > least)
        image = image[edges.max(initial=-lag) + lag:]
    return image


def _outside(difference):
    """Mask of what reaches in from the sides of a picture: a table, a finger, a shadow."""
    labels = _components(np.abs(difference) > max(0.2 * np.ptp(difference), 8 * _noise(difference)))
    y, x = (side // 4 for side in labels.shape)
    middle = labels[y:-y or None, x:-x or None]
    bands = labels[:y], labels[-y:], labels[:, :x], labels[:, -x:]
    size = labels.max() + 1
    area, in_middle = (np.bincount(part.ravel(), minlength=size) for part in (labels, middle))
    around = sum(np.bincount(np.unique(band), minlength=size) for band in bands) == 4
    outside = np.zeros(size, bool)
    outside[labels[_frame(labels.shape)]] = True
    outside &= in_middle < 0.1 * area
    outside &= ~around | (~outside & (area > 4))[1:].any()  # a 0 may fill the picture
    outside[0] = False
    return _grown(outside[labels], 1)


def _resize(image, shape, box=None, filter=Image.BILINEAR):
    return np.asarray(Image.fromarray(image).resize(shape[::-1], filter, box))


def _frame(shape):
    """Mask of the pixels along the edges of a picture, where most is paper."""
    y, x = (-(-side // 32) for side in shape)
    frame = np.ones(shape, bool)
    frame[y:-y, x:-x] = False
    return frame


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


def _filled(image):
    """Remove what stands out of its surroundings and is no wider than a stroke can be."""
    size = max(image.shape) * 3 // 10 | 1  # odd
    padded = np.pad(image, size, mode="edge")
    opened = _filtered(padded, ImageFilter.MinFilter(size), ImageFilter.MaxFilter(size))
    opened = _blur(opened, size // 8)[size:-size, size:-size]
    return opened + np.median((image - opened)[_frame(image.shape)])  # as noise has extremes, too


def _filtered(image, *filters):
    image = Image.fromarray(image)
    for each in filters:
        image = image.filter(each)
    return np.asarray(image)


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
    digit = _fitted(_restroked(digit), BOX)
    return centred(np.rint(255 * digit / digit.max()).astype(np.uint8)[None])[0]


def _digit(ink):
    """The ink of the one digit, from 0 to 1, cropped."""
    smooth, noise = _smoothed(ink)
    level = _level(smooth, max(NOISE * noise, MIN_CONTRAST))
    found = smooth > max(0.35 * level, 3 * noise)
    mask = _one_digit(found)
    # Faint edges belong to the digit, specks do not.
    near = _grown(mask, 0.06 * max(map(np.ptp, np.nonzero(mask)))) & ~_grown(found & ~mask, 1)
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


def _grown(mask, radius):
    return _blur(mask.astype(np.float32), max(round(radius), 1)) > 1e-6


def _one_digit(mask):
    """Keep the largest piece of ink and the pieces near it, without specks."""
    labels = _components(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    areas[areas < 0.02 * areas.max()] = 0
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


def _components(mask):
    """Number the connected parts of a mask from 1; corners connect; 0 is outside."""
    number = np.zeros(np.add(mask.shape, 2), int)
    number[1:-1, 1:-1][mask] = np.arange(1, np.count_nonzero(mask) + 1)
    pairs = []
    for shift in (0, 1), (1, -1), (1, 0), (1, 1):
        neighbour = np.roll(number, shift, axis=(0, 1))
        both = (number > 0) & (neighbour > 0)
        pairs.append((number[both], neighbour[both]))
    here, there = np.concatenate(pairs, axis=1)
    label = np.arange(number.max() + 1)
    while (label[here] != label[there]).any():
        low = np.minimum(label[here], label[there])
        np.minimum.at(label, label[here], low)
        np.minimum.at(label, label[there], low)
        label = label[label]
    return np.unique(label, return_inverse=True)[1][number[1:-1, 1:-1]]


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
    thicken_or_thin = ImageFilter.MaxFilter(3) if steps > 0 else ImageFilter.MinFilter(3)
    return _filtered(digit, *abs(steps) * [thicken_or_thin])


def _depth(mask):
    """The radius of the largest square inside a mask."""
    depth = 0
    while mask.any():
        mask = _filtered(mask.astype(np.uint8), ImageFilter.MinFilter(3))
        depth += 1
    return depth

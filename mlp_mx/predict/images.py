"""Normalise a user's picture of one digit as MNIST was.

Each digit is scaled to fit 20 x 20 pixels, keeping its aspect ratio, and its centre of mass is
put in the middle of 28 x 28, white on black. In a photograph, the ink is first separated from the
paper, by brightness or, where that differs little, by colour.
"""

import warnings

import numpy as np
from PIL import Image, ImageOps

from .._support.errors import InputError
from .._support.files import open_regular
from ..data.form import BOX, centred

__all__ = ["ImageError", "ink", "read", "to_mnist"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow's EPS would run a program
HEIC = (b"ftyphe", b"ftypmif1", b"ftypmsf1")  # in a file's header, from its fifth byte
LARGE = 2048  # pixels along the longer side: larger pictures are reduced when they are read
WORK = 512  # pixels along the longer side when the ink is found,
COARSE = 64  # and when its background is
FINE = 4  # samples per pixel, along each axis, for the width of the strokes
WIDTHS = (1.6, 5.0)  # pixels of 20: thinner strokes are made thicker, thicker ones thinner
SOLID = 6.2  # pixels of 20: no stroke of a digit is as wide
UNEVEN = 2.2  # times the width of the strokes: no square this large fits in one
BRIGHTNESS = np.array([0.299, 0.587, 0.114])  # of red, green and blue
COLOURFUL = 1.5  # times the contrast of brightness: a colour is preferred to it
THIN = 0.02  # of the shorter side of a plot: its frame is no wider
PANEL = 24  # grey levels, of 255, between a figure's panel, or its frame, and the page
MIN_CONTRAST = 12  # grey levels, of 255, between a digit and its background
NOISE = 8  # times the noise: a digit stands out by more
BLANK = ("expected one digit that stands out from its background, found a blank picture; make the "
         "digit larger or bolder")
SEVERAL = "expected one digit, found several things; crop the picture to one"


class ImageError(InputError):
    """The file is not a picture, or the picture does not show one digit."""


def read(path):
    """Read a picture as a viewer shows it: EXIF rotation applied, transparency on a background.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, GIF, BMP, TIFF or WebP, in any colour mode but LAB; only the first frame is read.

    Returns
    -------
    ndarray of uint8, shape (height, width) or (height, width, 3)
        Grey levels, 255 is white, or RGB. If the longer side exceeds 2048 pixels, square blocks
        are averaged, to save memory.

    Raises
    ------
    ImageError
        If the file is missing, damaged, too large or not a picture.
    """
    header = b""
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            header = file.read(12)
            with Image.open(file, formats=FORMATS) as picture:
                picture.draft(None, (LARGE, LARGE))  # JPEG files are decoded smaller
                return _levels(_upright(_reduce(_averageable(picture), LARGE)))
    except Exception as error:  # a damaged file can make its decoder raise anything
        raise ImageError(f"{path}: {_problem(error, header)}") from error


def _problem(error, header):
    """What is wrong with a file, and what to do."""
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        megapixels = Image.MAX_IMAGE_PIXELS // 10**6
        return f"expected at most {megapixels} megapixels, found more; scale it down"
    if isinstance(error, Image.UnidentifiedImageError) and not header:
        return "expected a picture, found an empty file; use another copy of it"
    if isinstance(error, Image.UnidentifiedImageError):
        found = "HEIC" if header.startswith(HEIC, 4) else "something else"
        return f"expected a picture ({', '.join(FORMATS)}), found {found}; convert it"
    if getattr(error, "strerror", None):
        return f"cannot be read: {error.strerror}"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"damaged ({reason}); use another copy of it"


def _averageable(picture):
    """Convert a picture to a mode that has averages: L, LA, RGB, RGBA or F."""
    if picture.mode[0] in "IF":  # more than 8 bits, which L would cut off at 255
        return picture.convert("F")
    if "transparency" in picture.info:
        return picture.convert("RGBA")
    mode = "L" if picture.mode[0] in "1L" else "RGB"
    return picture.convert(mode + "A" * ("A" in picture.getbands()))


def _upright(picture):
    """Turn a picture as its EXIF data say, if they can be read."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # whatever damage makes Pillow raise; the pixels are decoded already
        return picture


def _reduce(picture, limit):
    """Average square blocks of pixels, so that the longer side has at most `limit`."""
    return picture.reduce(-(-max(picture.size) // limit))


def _levels(picture):
    """Grey levels or RGB from 0 to 255, transparency laid on a background."""
    if picture.mode in ("L", "RGB"):
        return np.asarray(picture)
    values = np.nan_to_num(np.asarray(picture, np.float32))
    if picture.mode == "F":  # fractions, 8 bits or 16
        top = values.max()
        values *= 255 if top <= 1 else 1 if top <= 255 else 1 / 257
    else:
        values = _opaque(values[..., :-1], values[..., -1:] / 255)
        values = values[..., 0] if picture.mode == "LA" else values
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def _opaque(levels, alpha):
    """Lay a picture on white or, if that would hide a light drawing on no background, on black."""
    is_light = (levels * alpha).mean() > 128 * alpha.mean()
    paper = 0 if is_light and alpha.mean() < 0.5 else 255
    return levels * alpha + paper * (1 - alpha)


def ink(image):
    """Separate the ink, dark on light or light on dark, from the paper.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width) or (height, width, 3)

    Returns
    -------
    ndarray of float32
        How much each pixel differs from the background, in grey levels: positive in ink, about 0
        elsewhere. Large pictures are reduced, and a figure is cropped to its one panel.
    """
    image = _grey(_panel(_reduced(image, WORK)))
    coarse = _reduced(image, COARSE)
    plain = _paper(coarse)
    outside = _outside(coarse - plain)
    coarse = np.where(outside, plain, coarse)
    outside = _resize(outside.astype(np.float32), image.shape) > 0
    image = np.where(outside, _resize(plain, image.shape), image)
    # Strokes are narrow, shadows are wide; ink also differs from paper by more, hence the cubes.
    sign = 1 if (_narrow(coarse - plain) ** 3).sum() > 0 else -1
    background = _resize(sign * _filled(sign * coarse, sign * plain), image.shape)
    if sign < 0:  # where there is less light, dark ink differs less from the paper
        image = image * (background.max() / np.maximum(background, 1))
        background = background.max()
    return sign * (image - background)


def _reduced(image, limit):
    if image.ndim == 3:
        return np.stack([_reduced(channel, limit) for channel in np.moveaxis(image, 2, 0)], axis=2)
    return np.asarray(_reduce(Image.fromarray(image).convert("F"), limit))


def _panel(image):
    """Crop a figure on a plain page, a plot or a screenshot, to what its one frame encloses."""
    marks, plain = _marks(image)
    if plain < 0.95:
        return image
    labels = _components(marks)
    largest = np.argsort(-np.bincount(labels.ravel())[1:])[:8] + 1
    boxes = [box for number in largest for box in _enclosed(image, labels == number)]
    filled = [box for box in boxes if _marks(box)[0].any()]
    if not filled and len(boxes) == 1:
        raise ImageError(BLANK)
    return _panel(filled[0]) if len(filled) == 1 else image


def _marks(image):
    """Mask of what differs from the colour of the sides; how much of the sides has that colour."""
    channels = np.atleast_3d(image)
    mask = _frame(image.shape[:2], max(image.shape))
    colour = np.median(channels[mask], axis=0)
    differs = np.abs(channels - colour).max(axis=2) > PANEL
    return differs, 1 - differs[mask].mean()


def _enclosed(image, mask):
    """Yield what an upright frame or panel encloses, if the mask is one.

    What is blank counts if the frame is thin: that of a plot, not a square 0.
    """
    (top, bottom), (left, right) = (  # without the ticks along it
        np.flatnonzero(count > 0.9 * count.max())[[0, -1]]
        for count in (mask.sum(axis=1), mask.sum(axis=0)))
    box = mask[top:bottom + 1, left:right + 1]
    extent = np.array([np.ptp(places) + 1 for places in np.nonzero(mask)])
    is_closed = box[_frame(box.shape, max(box.shape))].mean() > 0.9
    if not is_closed or (box.shape < 0.8 * extent).any():
        return
    for margin in range(1, min(box.shape) // 10):  # past the frame's line and its blurred edge
        inside = image[top + margin:bottom + 1 - margin, left + margin:right + 1 - margin]
        marks, plain = _marks(inside)
        if plain == 1:
            if marks.any() or box.sum() / sum(2 * box.shape) < THIN * min(box.shape):
                yield inside
            return


def _grey(image):
    """The grey levels in which ink and paper differ most: brightness, unless a colour does more."""
    if image.ndim == 2:
        return image
    coarse = _reduced(image, COARSE)
    difference = np.stack([_narrow(channel - _paper(channel))
                           for channel in np.moveaxis(coarse, 2, 0)], axis=2).reshape(-1, 3)
    weighted = difference * np.linalg.norm(difference, axis=1, keepdims=True)
    colour = np.linalg.eigh(weighted.T @ weighted)[1][:, -1]
    colour /= np.abs(colour).sum()
    contrasts = [np.linalg.norm(difference @ weights, 4) for weights in (colour, BRIGHTNESS)]
    weights = colour if contrasts[0] > COLOURFUL * contrasts[1] else BRIGHTNESS
    return (image @ weights - 255 * np.minimum(weights, 0).sum()).astype(np.float32)


def _narrow(difference):
    """Keep only the narrow parts of a difference from the paper."""
    side = max(difference.shape)
    difference = np.pad(difference, side // 3)
    return difference - _around(np.mean, difference, side // 5)


def _outside(difference):
    """Mask of what reaches in from the sides of a picture: a table, a finger, a shadow."""
    labels = _components(np.abs(difference) > 0.3 * np.ptp(difference))
    outside = (_sides_reached(labels, 1) > 0) & (_share_in_middle(labels) < 0.1)
    outside[0] = False
    if not (~outside & (np.bincount(labels.ravel()) > 4))[1:].any():
        outside &= _sides_reached(labels, 3) < 4  # a 0 may fill the picture
    return _around(np.max, outside[labels], 1)


def _sides_reached(labels, depth):
    """Return how many sides of a picture each part of it comes near."""
    sides = labels[:depth], labels[-depth:], labels[:, :depth], labels[:, -depth:]
    return sum(np.isin(np.arange(labels.max() + 1), side) for side in sides)


def _share_in_middle(labels):
    """Return how much of each part of a picture is in the middle half of its height and width."""
    y, x = (side // 4 for side in labels.shape)
    middle = labels[y:-y or None, x:-x or None]
    areas = [np.bincount(part.ravel(), minlength=labels.max() + 1) for part in (middle, labels)]
    return areas[0] / np.maximum(areas[1], 1)


def _resize(image, shape, box=None, filter=Image.BILINEAR):
    return np.asarray(Image.fromarray(image).resize(shape[::-1], filter, box))


def _frame(shape, share=32):
    """Mask of the pixels along the edges of a picture, where most is paper."""
    (y, x), edge = (-(-side // share) for side in shape), np.ones(shape, bool)
    edge[y:-y, x:-x] = False
    return edge


def _paper(image):
    """Fit a plane to the frame of a picture, even where ink crosses it."""
    axes = (np.linspace(-0.5, 0.5, side) for side in image.shape)
    terms = np.stack([np.ones(image.shape), *np.meshgrid(*axes, indexing="ij")], axis=-1)
    frame = _frame(image.shape, 16)
    values, edge_terms = image[frame], terms[frame]
    surface = np.median(values)
    for _ in range(20):  # reweighted least squares: outliers hardly count
        weight = 1 / np.hypot(values - surface, 16)
        factors = np.linalg.lstsq(edge_terms * weight[:, None], values * weight, rcond=None)[0]
        surface = edge_terms @ factors
    return (terms @ factors).astype(np.float32)


def _filled(image, beyond):
    """Remove what stands out from its surroundings and is no wider than a stroke can be.

    Outside the picture, the edge values of `beyond` are repeated.
    """
    radius = max(image.shape) * 3 // 20
    size = 2 * radius + 1
    padded = np.pad(beyond, size, mode="edge")
    padded[size:-size, size:-size] = image
    opened = _around(np.max, _around(np.min, padded, radius), radius)
    opened = _around(np.mean, opened, size // 8)[size:-size, size:-size]
    return opened + np.median((image - opened)[_frame(image.shape)])  # as noise has extremes, too


def _around(statistic, image, radius):
    """The mean, minimum or maximum of the square around each pixel."""
    for _ in range(2):
        padded = np.pad(image, ((radius, radius), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
        image = statistic(windows.transpose(2, 0, 1), axis=0).T
    return image


def to_mnist(image):
    """Normalise a picture of one digit as MNIST was.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width) or (height, width, 3)
        Grey levels or RGB; the digit may be darker or lighter than its background, or differ from
        it by colour alone. A figure with one frame, such as a plot, is cropped to it.

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
    return np.rint(255 * centred(digit[None] / digit.max())[0]).astype(np.uint8)


def _digit(ink):
    """The ink of the one digit, from 0 to 1, cropped."""
    smooth, noise = _smoothed(ink)
    strong = smooth[smooth > max(NOISE * noise, MIN_CONTRAST)]
    if not len(strong):
        raise ImageError(BLANK)
    level = (strong ** 3).sum() / (strong ** 2).sum()  # of two inks, the stronger counts more
    found = smooth > max(0.35 * level, 3 * noise)
    mask = _one_digit(found)
    # Faint edges belong to the digit, what was left out of it does not.
    extent = max(np.ptp(places) for places in np.nonzero(mask)) + 1
    near = _around(np.max, mask, max(round(1.2 * extent / BOX), 1))
    near &= ~_around(np.max, found & ~mask, 1)
    full = np.percentile(smooth[mask], 75)
    reaches_out = mask[[0, -1]].any() or mask[:, [0, -1]].any()
    if reaches_out and np.percentile(np.abs(np.append(smooth[~near], 0)), 90) > 0.12 * full:
        raise ImageError("expected one digit on a plain background, found a busy picture; crop it "
                         "to the digit")
    ys, xs = np.nonzero(near & (smooth > max(0.25 * full, 3 * noise)))
    ink = np.where(near, ink, 0)[ys.min():ys.max() + 1, xs.min():xs.max() + 1]
    return np.clip((ink - noise) / (full - noise), 0, 1)


def _smoothed(ink):
    """Blur noise and fine grids, no more than needed; also return the noise that is left."""
    for share, ratio in ((999, 100), (150, NOISE), (75, NOISE), (50, 0)):
        smooth = _around(np.mean, ink, max(ink.shape) // share)
        # The standard deviation of the paper, even where half of the frame is ink.
        noise = np.percentile(np.abs(smooth[_frame(ink.shape)]), 25) / 0.3186
        if smooth.max() > ratio * noise:
            break
    return smooth, noise


def _one_digit(mask):
    """Keep the largest piece of ink and the pieces near it, without specks."""
    labels = _components(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    areas[areas < 0.02 * areas.max()] = 0
    lines = [number for number in np.flatnonzero((areas > 0) & (_share_in_middle(labels) < 0.1))
             if _is_long(labels == number)]
    if np.delete(areas, lines).max() > 0.2 * areas.max():  # not a 1
        areas[lines] = 0
    if areas.max() < 8:
        raise ImageError(BLANK)
    mask = (areas > 0)[labels]
    if np.count_nonzero(areas > 0.1 * areas.max()) > 4:  # a digit may be broken
        raise ImageError(SEVERAL)
    # Pieces of one digit are less than a fifth of its height apart.
    reach = np.count_nonzero(mask.any(axis=1)) / 10
    groups = _components(_around(np.max, mask, max(round(reach), 1)))
    areas = np.bincount(groups[mask])
    largest = areas.argmax()
    mask &= groups == largest
    if np.delete(areas, largest).max(initial=0) > 0.2 * areas[largest] or _side_by_side(mask):
        raise ImageError(SEVERAL)
    if np.count_nonzero(mask.any(axis=0)) > 3 * np.count_nonzero(mask.any(axis=1)):
        raise ImageError("expected one digit, found something more than 3 times as wide as it is "
                         "high; crop the picture to one")  # in MNIST, twice
    return mask


def _is_long(mask):
    """Whether a piece is about as long as a side of the picture, as margin lines and frames are."""
    return max(np.ptp(places) / side for places, side in zip(np.nonzero(mask), mask.shape)) > 0.9


def _side_by_side(mask):
    """Whether two pieces are each about as high as both, with nothing but paper between them."""
    columns = _components(mask.any(axis=0)[None])[0]
    heights = [np.ptp(np.nonzero(mask[:, columns == number])[0])
               for number in range(1, columns.max() + 1)]
    return np.count_nonzero(np.array(heights) > 0.6 * max(heights)) > 1


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
    """Thicken strokes that would nearly vanish when scaled down, and thin very thick ones."""
    solid = np.pad(digit > 0.5, 1)
    # Each pixel edge counts, which lengthens an oblique outline by 4 / pi on average.
    outline = np.pi / 4 * sum(np.diff(solid, axis=axis).sum() for axis in (0, 1))
    width = 2 * solid.sum() / max(outline, 1) / FINE
    if width > SOLID or _around(np.min, solid, round(UNEVEN * max(width, 1) * FINE / 2)).any():
        raise ImageError("expected a digit made of even strokes, found something solid, such as "
                         "paper on a table; crop the picture to the digit")
    steps = round((np.clip(width, *WIDTHS) - width) * FINE / 2)
    digit = np.pad(digit, max(steps, 0))
    for step in range(abs(steps)):
        digit = _step(digit, np.max if steps > 0 else np.min, step % 2)
    return digit


def _step(image, extreme, corners):
    """The least or the greatest value of each pixel and its 4 neighbours, or 8 with the corners."""
    padded = np.pad(image, 1)
    shifts = [padded[1 + y:1 + y + image.shape[0], 1 + x:1 + x + image.shape[1]]
              for y in (-1, 0, 1) for x in (-1, 0, 1) if corners or not x * y]
    return extreme(shifts, axis=0)

"""MNIST's form: digits fitted into 20 x 20 pixels, and centred by mass in 28 x 28."""

import numpy as np

__all__ = ["BOX", "SIDE", "centred"]

BOX, SIDE = 20, 28


def centred(digits):
    """Paste digits of up to 20 x 20 pixels, shape (n, height, width), into images, (n, 28, 28).

    The centre of mass goes in the middle; anything that falls outside is cut off.
    """
    rows, columns = _places(digits.sum(axis=2)), _places(digits.sum(axis=1))
    images = np.zeros((len(digits), SIDE + 2 * BOX, SIDE + 2 * BOX), digits.dtype)
    number = np.arange(len(digits))[:, None, None]
    images[number, rows[:, :, None], columns[:, None, :]] = digits
    return images[:, BOX:-BOX, BOX:-BOX]


def _places(mass):
    """Where rows, or columns, of these masses go in an image with a margin of 20 pixels."""
    pixel = np.arange(mass.shape[1])
    centre = (mass * pixel).sum(axis=1) / mass.sum(axis=1)
    return np.rint(SIDE / 2 - centre).astype(int)[:, None] + pixel + BOX

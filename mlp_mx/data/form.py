"""MNIST's form: digits fitted into 20 x 20 pixels, and centred by mass in 28 x 28."""

import numpy as np

__all__ = ["BOX", "SIDE", "centred"]

BOX, SIDE = 20, 28


def centred(digits):
    """Paste each digit into an image, with its centre of mass in the middle.

    Parameters
    ----------
    digits : ndarray, shape (n, height, width)
        White on black, up to 20 x 20 pixels.

    Returns
    -------
    ndarray, shape (n, 28, 28)
        Of the same dtype. Whatever falls outside is cut off.
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

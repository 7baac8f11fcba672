"""MNIST's files, read with NumPy alone."""

import gzip
import pathlib

import numpy as np


def read(folder, half):
    """The images, float32 in [0, 1] of shape (n, 784), and labels of "train" or "t10k"."""
    images, labels = (
        gzip.decompress(pathlib.Path(folder, f"{half}-{name}-ubyte.gz").read_bytes())
        for name in ("images-idx3", "labels-idx1")
    )
    images = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)
    return images.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8).astype(int)

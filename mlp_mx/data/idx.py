"""Data sets in MNIST's form: four IDX files in a folder, gzipped or not, such as Fashion-MNIST."""

import collections
import gzip
import math
import os
import re
import struct
import warnings
import zlib

import numpy as np

from .._support.errors import InputError
from .._support.files import open_regular
from . import DATASETS, mnist

__all__ = ["load", "read"]

# EMNIST's names have a prefix, and "test" for "t10k"; some programs unpack to "images.idx3-ubyte".
NAME = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
EXPECTED = "train-images-idx3-ubyte, train-labels-…, t10k-images-… and t10k-labels-…, with or " \
           "without .gz"
MOST_CLASS_NAMES = 1 << 16  # bytes of classes.txt


def load(data_dir=None):
    """Load the training and test set in a folder of four IDX files.

    Nothing is downloaded. Images are used as they are in the files: EMNIST's are transposed.

    Parameters
    ----------
    data_dir : path-like, optional
        By default ``$MLP_MX_DATA``.

    Returns
    -------
    name : str
        The folder's.
    classes : list of str, or None
        The lines of ``classes.txt``, if the folder has it.
    num_outputs : int
        The highest label + 1.
    halves : list of two (images, labels)
        Training and test set: uint8, shapes (n, height, width, 1) and (n,). Labels that begin at 1
        are shifted to begin at 0, with a warning.

    Raises
    ------
    InputError
        If files are missing, damaged, or do not belong together.
    """
    if not (data_dir or os.environ.get("MLP_MX_DATA")):
        raise InputError("the data set idx needs a folder with four IDX files: name it with "
                         "--data-dir or MLP_MX_DATA")
    folder = mnist.folder(data_dir)
    paths = _paths(folder)
    halves = [_half(paths[half, "images"], paths[half, "labels"]) for half in ("train", "test")]
    (train_images, train_labels), (test_images, test_labels) = halves
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(f"{folder}: expected training and test images of one size, found "
                         f"{train_images.shape[1:]} and {test_images.shape[1:]}")
    if min(train_labels.min(), test_labels.min()) == 1:
        warnings.warn(f"the labels in {folder} begin at 1; 1 is subtracted from each", stacklevel=4)
        halves = [(images, labels - 1) for images, labels in halves]
    num_outputs = 1 + int(max(labels.max() for _, labels in halves))
    name = folder.name or str(folder)
    name = f"{name} (idx)" if name.lower() in DATASETS else name  # must not look like another
    return (name if name.isprintable() else ascii(name), _classes(folder, num_outputs), num_outputs,
            halves)


def _paths(folder):
    """The path of each half's images and labels: ``{("train", "images"): …}``."""
    try:
        names = sorted(os.listdir(folder), reverse=True)  # the last wins: the unpacked file
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}; {mnist.CURE}") from error
    sets = collections.defaultdict(dict)
    for match in filter(None, map(NAME.fullmatch, names)):
        half = "train" if match[2] == "train" else "test"
        sets[match[1]][half, match[3]] = folder / match[0]
    if not sets:
        raise InputError(f"expected {EXPECTED} in {folder}, found none of them")
    if len(sets) > 1:
        raise InputError(f"expected one data set in {folder}, found files of {len(sets)}: "
                         f"{', '.join(sorted(sets))[:200]}; give each a folder of its own")
    (found,) = sets.values()
    for half in ("train", "test"):
        for kind in ("images", "labels"):
            if (half, kind) not in found:
                raise InputError(f"expected {EXPECTED} in {folder}, found no {kind} of the "
                                 f"{'training' if half == 'train' else 'test'} set")
    return found


def _half(images_path, labels_path):
    """Images and labels of one half: uint8, shapes (n, height, width, channels) and (n,)."""
    images, labels = read(images_path), read(labels_path)
    if images.ndim not in (3, 4):
        raise InputError(f"{images_path}: expected images, found an array of shape {images.shape}")
    if labels.ndim != 1:
        raise InputError(f"{labels_path}: expected labels, found an array of shape {labels.shape}")
    if len(images) != len(labels):
        raise InputError(f"expected a label for each image, found {len(images)} images in "
                         f"{images_path} and {len(labels)} labels in {labels_path}")
    if not images.size:
        raise InputError(f"{images_path}: expected images, found none (shape {images.shape})")
    return images[..., None] if images.ndim == 3 else images, labels


def read(path):
    """Read an IDX file of unsigned bytes, gzipped or not: an ndarray of uint8."""
    try:
        with open_regular(path) as file:
            is_zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if not is_zipped:
                return _parsed(path, file, size, size)
            with gzip.open(file) as unzipped:  # deflate packs a byte into 1/1032 to 1.01 bytes
                return _parsed(path, unzipped, size / 1.01 - 1024, size * 1032)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise InputError(f"{path}: not enough memory to read it") from None


def _parsed(path, file, least, most):
    """The array in an open IDX file, which has from `least` to `most` bytes."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= 4:
        raise InputError(f"{path}: expected an IDX file of unsigned bytes, which begins with 00 00 "
                         f"08, found {start.hex(' ') or 'an empty file'}")
    header = file.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise InputError(f"{path} is damaged: it ends in its header; get it again")
    shape = struct.unpack(f">{start[3]}I", header)
    size = math.prod(shape)
    promise = f"{path} is damaged: its header promises {' x '.join(map(str, shape))} bytes"
    if not least <= 4 + len(header) + size <= most:
        raise InputError(f"{promise}, which is not its size; get it again")
    content = file.read(size + 1)  # one more, to see the end, where gzip compares a checksum
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise InputError(f"{promise}, found {found}; get it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _classes(folder, num_outputs):
    """The classes' names in the folder's ``classes.txt``, or None if there is no such file."""
    path = folder / "classes.txt"
    try:
        with open_regular(path) as file:
            names = file.read(MOST_CLASS_NAMES).decode("utf-8-sig").strip().splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}") from error
    if len(names) != num_outputs:
        raise InputError(f"{path}: expected {num_outputs} lines, one for each class, found "
                         f"{len(names)}")
    return [name if name.isprintable() else ascii(name) for name in map(str.strip, names)]

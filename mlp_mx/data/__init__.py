"""The chapter's data in gluon DataLoaders: MNIST, or digits drawn from fonts."""

import warnings

from .._support.errors import InputError
from ..runtime.lazy import mx
from . import mnist

__all__ = ["ArrayLoader", "DATASETS", "load", "transform"]

DATASETS = ("auto", "mnist", "glyphs", "idx")


def __getattr__(name):
    if name != "ArrayLoader":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .loader import ArrayLoader  # here, because it is a subclass of MXNet's

    return ArrayLoader


def __dir__():
    return [*__all__, "mnist"]


def transform(data, label):
    """Scale pixels from [0, 255] to [0, 1] and convert both to float32: the chapter's transform.

    Parameters
    ----------
    data : NDArray or ndarray of uint8, any shape
    label : NDArray, ndarray or NumPy scalar

    Returns
    -------
    data, label
        float32, shapes unchanged.
    """
    return data.astype("float32") / 255, label.astype("float32")


def load(dataset="auto", data_dir=None, batch_size=64, seed=0, ctx=None, progress=False):
    """Load a data set into DataLoaders.

    Parameters
    ----------
    dataset : {"auto", "mnist", "glyphs", "idx"}, default "auto"
        "mnist" is downloaded if it is missing. "glyphs" are digits drawn from fonts (see
        `mlp_mx.data.glyphs`). "auto" is MNIST or, if that cannot be downloaded, glyphs, with a
        warning. "idx" is your own: four IDX files in `data_dir` (see `mlp_mx.data.idx`).
    data_dir : path-like, optional
        Folder of the data set; for the default, see `mlp_mx.data.mnist.folder`.
    batch_size : int, default 64
    seed : int or None, default 0
        Seed for shuffling the training examples; with None they are not shuffled.
    ctx : mxnet.Context, optional
        Device to load the data to; by default the CPU.
    progress : bool, default False
        Show progress bars on standard error, if that is a terminal.

    Returns
    -------
    train_data, test_data : ArrayLoader
        They yield ``(data, label)``: float32 NDArrays of shape (batch, 28, 28, 1), in [0, 1], and
        of shape (batch,); images of "idx" keep their size. Test data are never shuffled.

    Raises
    ------
    InputError
        If the data set is unknown, the batch size is not a positive integer, or the folder cannot
        be read.
    mlp_mx.data.mnist.DownloadError
        If MNIST is requested but missing, and cannot be downloaded.
    """
    if dataset not in DATASETS:
        raise InputError(f"expected the data set auto, mnist, glyphs or idx, found {dataset!r}")
    from .loader import ArrayLoader, check_batches  # here, because they load MXNet

    check_batches(batch_size, seed)
    ctx = ctx or mx.cpu()
    name, classes, num_outputs, halves = _read(dataset, data_dir, progress)
    # One after the other, so that only one is in memory as both uint8 and float32.
    loaders = [ArrayLoader(*half, batch_size, half_seed, name, classes, ctx)
               for half, half_seed in zip(halves, (seed, None))]
    for loader in loaders:
        loader.num_outputs = num_outputs  # even if the test set lacks the last class
    return tuple(loaders)


def _read(dataset, data_dir, progress):
    """A data set's name, classes, their number, and an iterator over both halves as uint8."""
    from . import glyphs, idx  # here, because they use this module

    if dataset == "idx":
        return idx.load(data_dir)
    if dataset != "glyphs":
        try:
            folder = mnist.fetch(data_dir, progress)
            images_and_labels = [folder / name for name in mnist.FILES]
            return "MNIST", None, 10, (
                (idx.read(images)[..., None], idx.read(labels))
                for images, labels in zip(images_and_labels[::2], images_and_labels[1::2]))
        except mnist.DownloadError as error:
            if dataset == "mnist":
                raise
            warnings.warn("THIS IS NOT MNIST but glyphs, digits drawn from fonts; do not compare "
                          f"results with MNIST's. {error}", stacklevel=3)
    return "glyphs", None, 10, (
        (images[..., None], labels) for images, labels in glyphs.load(data_dir, progress))

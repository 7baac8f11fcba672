"""A gluon DataLoader over arrays in memory, which takes a whole batch at a time."""

import numbers

import numpy as np

from .._support.errors import InputError
from .._support.progress import steps
from ..runtime import gluon, mx, nd
from . import transform

__all__ = ["ArrayLoader", "check_batches"]

CHUNK = 160000  # numbers converted at a time, because temporary arrays would be large


class ArrayLoader(gluon.data.DataLoader):
    """A gluon DataLoader over arrays in memory, which takes each batch in one operation.

    The chapter's loader transforms and stacks one image at a time, which takes longer than
    training does. The batches, ``(data, label)``, are the same: float32 NDArrays of shapes
    (batch, …) and (batch,); the last one may be smaller.

    Parameters
    ----------
    data : ndarray, NDArray or mx.np.ndarray, shape (num_examples, …)
        Images or other examples of any shape. Batches keep the shape; training flattens it. uint8
        values are pixels, and are **divided by 255**. Other numbers are converted to float32. A
        float32 NDArray is not copied.
    label : ndarray, NDArray or mx.np.ndarray, shape (num_examples,)
        The classes, as whole numbers from 0, of any integer or float dtype.
    batch_size : int, default 64
    seed : int or None, default None
        Shuffle, in an order that depends only on this seed and on the epoch (see `set_epoch`).
        With None, examples are not shuffled.
    name : str, default "arrays"
        The data set's name, to be printed with results.
    classes : sequence of str, optional
        The names of the classes.
    ctx : mxnet.Context, optional
        Device for the batches; by default that of `data`, which for NumPy arrays is the CPU.

    Attributes
    ----------
    data, label : NDArray, float32, shapes (num_examples, …) and (num_examples,)
    name, batch_size
        As above.
    num_examples : int
    num_outputs : int
        The number of classes: that of the names, if given, or else the highest label + 1.
    classes : list of str, or None

    Raises
    ------
    InputError
        If there is no example, if lengths or shapes do not fit, if a value is not a finite number,
        or if a label is not a class.
    """

    _worker_pool = None  # gluon's destructor reads it, even after an InputError

    def __init__(self, data, label, batch_size=64, seed=None, name="arrays", classes=None,
                 ctx=None):
        check_batches(batch_size, seed)
        data, label = _array(data, "data"), _array(label, "labels")
        label = label.asnumpy() if isinstance(label, nd.NDArray) else label
        _check_shapes(data.shape, label.shape)
        ctx = ctx or getattr(data, "context", mx.cpu())
        self.num_outputs = _num_classes(label)
        self.classes = None if classes is None else [str(name) for name in classes]
        if self.classes is not None:
            if len(self.classes) < self.num_outputs:
                raise InputError(f"expected at least {self.num_outputs} names of classes, for "
                                 f"labels up to {self.num_outputs - 1}, found {len(self.classes)}")
            self.num_outputs = len(self.classes)
        self.data = _as_float32(data, label, ctx)
        self.label = nd.array(label, ctx, dtype="float32")
        self.name, self.num_examples, self.batch_size = name, len(label), batch_size
        self._seed, self._epoch = seed, 0
        super().__init__(gluon.data.ArrayDataset(self.data, self.label), batch_size)

    def __repr__(self):
        return (f"ArrayLoader({self.name!r}: {self.num_examples} examples of shape "
                f"{self.data.shape[1:]}, batch size {self.batch_size})")

    def set_epoch(self, epoch):
        """Set the epoch's number, which the order of the examples depends on."""
        self._epoch = epoch

    def __iter__(self):
        order = np.arange(self.num_examples)
        if self._seed is not None:
            # RandomState, because NumPy promises that its stream never changes.
            np.random.RandomState([self._seed, self._epoch]).shuffle(order)
        # One copy to the device, then slices: a copy per batch would cost a fifth of an epoch.
        order = nd.array(order, self.data.context, dtype=np.int32)
        label = nd.take(self.label, order)
        for start in range(0, self.num_examples, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield nd.take(self.data, order[rows]), label[rows]

    def is_ready_on(self, ctx):
        """Whether all batches are sure to be float32 on a device, with a label for each example.

        Those of a subclass may be others, and so may those of arrays that were assigned later.
        """
        return type(self) is ArrayLoader and all(
            type(array) is nd.NDArray and array.dtype == np.float32 and array.context == ctx
            for array in (self.data, self.label)
        ) and self.label.shape == self.data.shape[:1] == (self.num_examples,)

    def in_order(self, batch_size):
        """Yield ``(data, label)`` without shuffling and without copying."""
        for start in range(0, self.num_examples, batch_size):
            yield self.data[start:start + batch_size], self.label[start:start + batch_size]


def check_batches(batch_size, seed):
    """Raise an `InputError` for a batch size or a seed that cannot be used."""
    if not _is_whole(batch_size) or batch_size < 1:
        raise InputError(f"expected a batch size of 1 or more, found {batch_size!r}")
    if seed is not None and not (_is_whole(seed) and 0 <= seed < 2**32):
        raise InputError(f"expected a seed from 0 to {2**32 - 1}, or None, found {seed!r}")


def _is_whole(number):
    return isinstance(number, numbers.Integral) and not isinstance(number, bool)


def _array(values, what):
    """Return an NDArray or a NumPy array; raise an `InputError` unless it holds numbers."""
    if isinstance(values, nd.NDArray):
        values = values.as_nd_ndarray()  # the same memory; only mx.np's are others
        return values if values.stype == "default" else values.tostype("default")
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{what}: expected an array, found a {type(values).__name__} that cannot "
                         f"be converted: {error}") from error
    if not array.ndim:
        raise InputError(f"{what}: expected an array, found {type(values).__name__}")
    if array.dtype.kind not in "biuf":
        cure = ("number the classes with label = numpy.unique(label, return_inverse=True)[1]"
                if what == "labels" else "convert them with .astype('float32')")
        raise InputError(f"{what}: expected numbers, found dtype {array.dtype}; {cure}")
    return array


def _check_shapes(data, label):
    """Raise an `InputError` unless arrays of these shapes are examples and their labels."""
    if not data[0] or 0 in data[1:]:
        raise InputError(f"expected at least one example, found data of shape {data}")
    if len(label) > 1:
        cure = "swap data and labels" if len(data) == 1 else (
            "use label.reshape(-1)" if label[1:] == (1,) else
            "if they are one-hot, use label.argmax(axis=1)")
        raise InputError(f"expected labels of shape ({data[0]},), found {label}; {cure}")
    if data[0] != label[0]:
        raise InputError(f"expected a label for each example, found {data[0]} examples and "
                         f"{label[0]} labels")


def _num_classes(label):
    """Return the highest label + 1; raise an `InputError` unless all are whole numbers from 0."""
    # Beyond float32's whole numbers, a label would become another one.
    values = label.astype(np.float64)  # float16 has no 2**24
    wrong = label[~((values >= 0) & (values < 2**24) & (np.floor(values) == values))]
    if wrong.size:
        raise InputError(f"labels: expected whole numbers from 0, found {wrong[0]}")
    return int(label.max()) + 1


def _as_float32(data, label, ctx):
    """Return data as a float32 NDArray on a device; raise an `InputError` unless all is finite."""
    is_ready = isinstance(data, nd.NDArray) and data.dtype == np.float32
    result = data.as_in_context(ctx) if is_ready else nd.empty(data.shape, ctx)
    num_rows = max(1, CHUNK * len(label) // data.size)
    for start in steps(range(0, len(label), num_rows), show=False):
        rows = slice(start, start + num_rows)
        part = data[rows].asnumpy() if isinstance(data, nd.NDArray) else data[rows]
        if part.dtype == np.uint8:
            part, _ = transform(part, label[rows])
        with np.errstate(over="ignore"):  # what becomes infinite is found below
            part = part.astype(np.float32, copy=False)
        finite = np.isfinite(part)
        if not finite.all():
            example = start + np.argwhere(~finite)[0][0]
            raise InputError(f"expected finite numbers, found {part[~finite][0]} in example "
                             f"{example} of the data")
        if not is_ready:
            result[rows] = part
    result.wait_to_read()  # so that the data can be freed
    return result

"""What `fit` returns: its epochs, which are trained as they are asked for."""

import functools
import inspect
import warnings
from typing import NamedTuple

from .. import Error

__all__ = ["Epoch", "lazily"]


class Epoch(NamedTuple):
    """What `fit` reports of an epoch."""

    epoch: int
    """Its number, from 0."""
    loss: float
    """Mean over the epoch's examples, in nats, while the parameters changed."""
    train_accuracy: float
    """Fraction of the training examples classified correctly after the epoch."""
    test_accuracy: float
    """Fraction of the test examples classified correctly after the epoch."""
    seconds: float
    """Wall time of the epoch, training and evaluation together."""


def lazily(function):
    """Make a generator function say so if nobody iterates over what it returns."""

    @functools.wraps(function)
    def start(*args, **kwargs):
        inspect.signature(function).bind(*args, **kwargs)
        return _Epochs(function(*args, **kwargs))

    return start


class _Epochs:
    """The epochs of `fit`, an iterator; an epoch is trained when its record is asked for."""

    def __init__(self, generator):
        self._generator, self._num_done, self._is_started = generator, 0, False

    def __iter__(self):
        return self

    def __next__(self):
        self._is_started = True
        try:
            record = next(self._generator)
        except Error as error:  # whose message says all: not where in the package it came from
            raise error.with_traceback(None) from None
        self._num_done += 1
        return record

    def close(self):
        """End training; the parameters are those after the last epoch."""
        self._is_started = True
        self._generator.close()

    def __repr__(self):
        return (f"<the epochs of train.fit, {self._num_done} done: each is trained when a loop "
                "asks for it, as in `for epoch in train.fit(…):`>")

    def __del__(self):
        if not self._is_started:
            warnings.warn("train.fit(…) trains when a loop asks for its epochs, and none did: "
                          "nothing was trained; write `for epoch in train.fit(…):` or "
                          "list(train.fit(…))", stacklevel=2)

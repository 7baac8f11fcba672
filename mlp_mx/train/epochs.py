"""What `fit` returns: an iterator that trains an epoch whenever its record is requested."""

import functools
import inspect
import warnings
from typing import Any, Callable, NamedTuple, TypeVar

from .._support.errors import Error

__all__ = ["Epoch", "lazily"]

Function = TypeVar("Function", bound=Callable[..., Any])  # type checkers see what it decorates


class Epoch(NamedTuple):
    """What `fit` reports about an epoch."""

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


def lazily(function: Function) -> Function:
    """Make a generator function warn if nothing iterates over what it returns."""

    @functools.wraps(function)
    def start(*args, **kwargs):
        inspect.signature(function).bind(*args, **kwargs)
        return _Epochs(function(*args, **kwargs))

    return start


class _Epochs:
    """The iterator that `fit` returns; an epoch is trained when its record is requested."""

    def __init__(self, generator):
        self._generator, self._num_done, self._is_started = generator, 0, False

    def __iter__(self):
        return self

    def __next__(self):
        self._is_started = True
        try:
            record = next(self._generator)
        except Error as error:  # whose message says it all: omit where in the package it arose
            raise error.with_traceback(None) from None
        self._num_done += 1
        return record

    def close(self):
        """End training; the parameters are those after the last epoch."""
        self._is_started = True
        self._generator.close()

    def __repr__(self):
        return (f"<epochs of train.fit, {self._num_done} done; a loop trains the others: "
                "`for epoch in train.fit(…):`>")

    def __del__(self):
        if not self._is_started:
            warnings.warn("nothing was trained: train.fit(…) trains while you loop over it; write "
                          "`for epoch in train.fit(…):` or list(train.fit(…))", stacklevel=2)

"""Multilayer perceptrons from scratch in MXNet: a chapter of a book, as a package that runs today.

The chapter is "Multilayer perceptrons from scratch" of *Deep Learning - The Straight Dope* (2017).
The modules, in the chapter's order:

- `runtime`: MXNet 1.9.1 on today's machines; ``mx``, ``nd``, ``autograd``, ``gluon``, ``context``
- `data`: ``transform`` and the gluon DataLoaders; MNIST, or the glyphs that replace it
- `model`: ``init_params``, ``relu``, ``softmax``, the losses, ``net``, ``predict``
- `train`: ``SGD``, ``evaluate_accuracy``, ``train_epoch``, ``fit``
- `fast`: runs your functions as graphs, to make them fast
- `checkpoint`: ``save`` and ``load``
- `predict`: digits read from your own pictures
- `plot`: arrays in, figures out
- `export`: a saved network as an ONNX file
- `launch`: one training run in several processes

Submodules, and MXNet itself, are imported on first use: ``import mlp_mx; mlp_mx.model.net``.
``python -m mlp_mx`` lists the commands.
"""

import importlib
import sys

from ._support.errors import Error, InputError
from ._version import __version__

__all__ = ["Error", "InputError", "__version__"]
_SUBMODULES = (
    "checkpoint", "data", "export", "fast", "launch", "model", "plot", "predict", "runtime",
    "train",
)


def __getattr__(name):
    if name not in _SUBMODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__():
    return [*__all__, *_SUBMODULES]


def _complain(*error):
    from .runtime.diagnosis import complain_of_package

    complain_of_package(*error)


if sys.argv[:1] == ["-m"]:  # a command begins
    sys.excepthook = _complain  # packages that it lacks are one line, no traceback
    from ._support.commands import check_module

    check_module()

"""Multilayer perceptrons from scratch in MXNet: a chapter of a book, as a package that runs today.

The chapter is "Multilayer perceptrons from scratch" of *Deep Learning - The Straight Dope* (2017).
Its steps, in its order, and where each one lives:

===============  =============================================================================
module           what is in it
===============  =============================================================================
``runtime``      makes MXNet 1.9.1 import and run well; ``context("auto")``
``fetch``        the four MNIST files: download, verification, where they are kept
``glyphs``       the embedded data set: digits drawn from fonts
``data``         ``transform`` and the gluon DataLoaders
``model``        ``init_params``, ``relu``, ``softmax``, the losses, ``net``, ``predict``
``train``        ``SGD``, ``evaluate_accuracy``, ``train_epoch``, ``fit``, and the command line
``fast``         what stands behind training and evaluation, to make them fast
``checkpoint``   ``save`` and ``load``, to ``.npz`` and to MXNet's ``.params``
``images``       a user's picture of a digit, brought to MNIST's form
``predict``      predictions for pictures and for test digits, and the command line
``export``       a saved network as an ONNX file, and the command line
``distributed``  gradients summed over devices and machines by MXNet's kvstore
``launch``       jobs of several processes that end together, and the command line
``published``    the losses and accuracies that the chapter's authors got
``cli``          what the commands share: argument types, exit codes, progress bars
``files``        files that are written whole or not at all
===============  =============================================================================

``python -m mlp_mx.train`` trains; ``python -m mlp_mx.runtime`` prints what a bug report needs;
``python -m mlp_mx.glyphs`` draws the embedded data set.
Importing ``mlp_mx`` itself loads nothing else.
"""

__version__ = "0.1.0"


class Error(Exception):
    """Something that the user can mend; the message is one line that says how.

    A command prints the message without a traceback and ends with `exit_code`.
    """

    exit_code = 1


class InputError(Error, ValueError):
    """An argument, an option or a file that cannot be used as it is."""

    exit_code = 2

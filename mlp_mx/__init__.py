"""Multilayer perceptrons from scratch in MXNet: a chapter of a book, as a package that runs today.

The chapter is "Multilayer perceptrons from scratch" of *Deep Learning - The Straight Dope* (2017).
Its steps, in its order, and where each one lives:

===============  =============================================================================
module           what is in it
===============  =============================================================================
``runtime``      makes MXNet 1.9.1 import and run well; ``context("auto")``
``cuda``         what MXNet's GPU wheel needs, and what the cards are
``fetch``        the four MNIST files: download, verification, where they are kept
``glyphs``       the embedded data set: digits drawn from fonts
``data``         ``transform`` and the gluon DataLoaders
``model``        ``init_params``, ``relu``, ``softmax``, the losses, ``net``, ``predict``
``train``        ``SGD``, ``evaluate_accuracy``, ``train_epoch``, ``fit``
``fast``         what stands behind training and evaluation, to make them fast
``exchange``     what several devices tell each other: gradients, or their factors
``distributed``  one training on several devices or machines, by MXNet's kvstore
``launch``       starts the processes of such a job, and ends them together
``checkpoint``   ``save`` and ``load``, to ``.npz`` and to MXNet's ``.params``
``keep``         what a run leaves behind: its model, its log, its picture
``log``          files with one JSON object a line
``images``       a user's picture of a digit, brought to MNIST's form
``predict``      predictions for pictures and for test digits
``plot``         pictures: arrays in, figures out
``export``       a saved network as an ONNX file
``published``    the losses and accuracies that the chapter's authors got
``cli``          what the commands share: argument types, exit codes, progress bars, signals
``files``        files that are written whole or not at all
===============  =============================================================================

``train``, ``predict``, ``export``, ``launch``, ``glyphs`` and ``runtime`` are commands, as in
``python -m mlp_mx.train``; each has ``--help``.
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

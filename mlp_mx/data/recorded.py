"""The data set that a saved model was trained on, by the name in the model's metadata."""

import math

from .. import data
from .._support.errors import InputError

__all__ = ["check_fits", "choice", "load", "load_again", "name_in"]


def name_in(metadata):
    """The recorded name, or None: metadata from a file may be anything in JSON."""
    name = metadata.get("dataset")
    return name if name and isinstance(name, str) else None


def choice(name):
    """The `dataset` of `mlp_mx.data.load` for a recorded name."""
    return name.lower() if name.lower() in data.DATASETS else "idx"


def load(name, dataset=None, data_dir=None, **options):
    """Load `dataset`, or if that is None, the data set of the recorded name, or else "auto"."""
    if dataset is None and name:
        return load_again(name, data_dir, **options)
    return data.load(dataset or "auto", data_dir, **options)


def load_again(name, data_dir=None, **options):
    """Load the data set of that name; options are those of `mlp_mx.data.load`.

    Raises
    ------
    InputError
        If it is neither MNIST nor glyphs, and `data_dir` is missing or names another data set.
    """
    if choice(name) == "idx" and data_dir is None:  # MLP_MX_DATA may be MNIST's
        raise InputError(f"the model was trained on {name}; name that folder with --data-dir")
    train_data, test_data = data.load(choice(name), data_dir, **options)
    if train_data.name != name:
        raise InputError(f"the model was trained on {name}, found {train_data.name}; name the "
                         f"folder of {name} with --data-dir")
    return train_data, test_data


def check_fits(path, params, loader, or_more=False):
    """Raise an `InputError` unless a network has the inputs and the outputs for a loader's data.

    Parameters
    ----------
    path : str
        The model's, for the message.
    params : list of NDArray
    loader : mlp_mx.data.ArrayLoader
    or_more : bool, default False
        Allow more outputs than there are classes.
    """
    num_inputs, num_outputs = math.prod(loader.data.shape[1:]), loader.num_outputs
    found = params[0].shape[0], params[-1].size
    if found[0] != num_inputs or found[1] < num_outputs or found[1] > num_outputs and not or_more:
        raise InputError(
            f"{path}: expected a network with {num_inputs} inputs and {num_outputs}"
            f"{' or more' if or_more else ''} outputs for {loader.name}, found {found[0]} and "
            f"{found[1]}; use another model or data set")

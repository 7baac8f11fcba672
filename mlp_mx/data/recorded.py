"""The data set that a saved model was trained on, by the name in the model's metadata."""

from .. import InputError, data

__all__ = ["choice", "load_again"]


def choice(name):
    """The `dataset` of `mlp_mx.data.load` for a recorded name."""
    return {"MNIST": "mnist", "glyphs": "glyphs"}.get(name, "idx")


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

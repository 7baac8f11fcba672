"""Import Matplotlib, and check its settings in files and in the environment."""

import os
import shutil
import warnings

from .errors import InputError

__all__ = ["check_drawing", "import_matplotlib"]


def import_matplotlib():
    """Import Matplotlib; raise an `InputError` if its settings prevent it from drawing."""
    try:
        import matplotlib
    except ValueError as error:
        reason = str(error).split(";")[0]  # without all that it supports
        cure = "unset MPLBACKEND" if "MPLBACKEND" in os.environ else "correct matplotlibrc"
        raise InputError(f"Matplotlib cannot be imported: {reason}; {cure}") from error
    if matplotlib.rcParams["text.usetex"] and not shutil.which("latex"):
        raise InputError(f"{matplotlib.matplotlib_fname()} sets text.usetex, but latex is not "
                         "installed; install it, or remove that setting")
    return matplotlib


def check_drawing(draw):
    """Raise an `InputError` if `draw`, a function that draws a figure to memory, fails."""
    matplotlib = import_matplotlib()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again with the figure itself
            draw()
    except Exception as error:  # each setting that is wrong can raise another
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"Matplotlib cannot draw with the settings in {matplotlib.matplotlib_fname()} and the "
            f"environment: {reason}; correct them") from error

"""The import of Matplotlib, whose settings in the environment may be wrong."""

from .. import InputError

__all__ = ["import_matplotlib"]


def import_matplotlib():
    """Import Matplotlib, or raise an `InputError` if it refuses ``$MPLBACKEND``."""
    try:
        import matplotlib
    except ValueError as error:
        reason = str(error).split(";")[0]  # without all that it supports
        raise InputError(f"Matplotlib cannot be imported: {reason}; unset MPLBACKEND") from error
    return matplotlib

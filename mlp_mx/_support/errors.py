"""The package's errors."""

__all__ = ["Error", "InputError"]


class Error(Exception):
    """An error that the user can fix; the message is one line that says how.

    A command prints the message without a traceback and ends with `exit_code`.
    """

    __module__ = "mlp_mx"  # where users find it
    exit_code = 1


class InputError(Error, ValueError):
    """An argument, an option or a file that cannot be used."""

    __module__ = "mlp_mx"
    exit_code = 2

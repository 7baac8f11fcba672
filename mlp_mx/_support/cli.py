"""What the commands share: argument types, one-line errors and exit codes."""

import argparse
import contextlib
import functools
import math
import os
import sys
import warnings

from . import signals
from .. import Error, InputError

__all__ = [
    "ArgumentParser", "check_different", "command", "complain", "integer", "number", "path",
]


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


RawHelp = argparse.RawDescriptionHelpFormatter


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with one-line errors, and without abbreviated options."""

    def __init__(self, formatter_class=_HelpFormatter, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=formatter_class, **kwargs)

    def error(self, message):
        complain(f"error: {_one_line(message)} (--help lists the options)")
        self.exit(2)


def _one_line(message):
    return " ".join(str(message).splitlines())


def number(minimum, maximum, convert=float):
    """Argument type: a finite number, or with ``int`` a whole one, from `minimum` to `maximum`."""
    kind = "a number" if convert is float else "a whole number"

    def parse(text):
        try:
            value = convert(text)
        except ValueError:
            value = math.nan  # fails the comparison below, as a literal "nan" does
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"expected {kind} from {minimum:.12g} to {maximum:.12g}, found {text!r}")
        return value

    return parse


def integer(minimum, maximum):
    """Argument type: a whole number from `minimum` to `maximum`."""
    return number(minimum, maximum, int)


def path(text):
    """Argument type: the name of a file or folder, which may or may not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    try:
        os.path.abspath(text)
    except FileNotFoundError:
        raise argparse.ArgumentTypeError(
            f"{text}: the current folder has been deleted; change to another one"
        ) from None
    return text


def check_different(args, *options):
    """Raise an `InputError` if two options, as the user writes them, name the same file."""
    names = {}
    for option in options:
        value = getattr(args, option.strip("-").replace("-", "_").lower())
        for file in [value] if isinstance(value, str) else value or ():
            other = names.setdefault(os.path.realpath(file), option)
            if other != option:
                raise InputError(f"{other} and {option} both name {file}; use different files")


def complain(message):
    """Print a line to standard error, if there is one that takes it."""
    try:
        if sys.stderr:
            print(message, file=sys.stderr, flush=True)
    except OSError:  # it is on a full disk
        _silence(sys.stderr)


def _show_warning(message, *args, **kwargs):
    complain(f"warning: {message}")


def _silence(stream):
    """Let a stream go nowhere, so that it does not fail again at exit."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or not a file at all
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def command(main):
    """Turn what ``main(argv=None)`` raises into one line on standard error and an exit code.

    The code is 0 for success, 2 for bad input, 1 for what fails later, and, as in shells, 128 plus
    the number of the signal that ended the command: 130 for Ctrl-C, 143 for SIGTERM, 129 for
    SIGHUP. A `main` that has reported a failure itself returns the code.
    """

    @functools.wraps(main)
    def run(argv=None):
        if hasattr(sys.stdout, "reconfigure"):  # file names may contain anything
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with signals.handled(), _printed_warnings():
                try:
                    return main(argv) or 0
                finally:
                    if sys.stdout:
                        sys.stdout.flush()
        except (Exception, signals.Stopped) as error:
            message, code = _report(error)
        if message:
            complain(message)
        exec("")  # or Python ends with SIGINT, if an exec of an import's was interrupted before
        return code

    return run


@contextlib.contextmanager
def _printed_warnings():
    """Print warnings in one line each, even if Python's options turn them into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        yield


def _report(error):
    """The line to print and the exit code for an error; one that nobody expected is raised."""
    if isinstance(error, Error):
        return f"error: {_one_line(error)}", error.exit_code
    if isinstance(error, signals.Stopped):
        return "; ".join(filter(None, [signals.MEANINGS[error.signum], *error.args])), \
            128 + error.signum
    if isinstance(error, OSError):  # without a file name, standard output is full, or not read
        _silence(sys.stdout)
        reason = f"{error.filename or 'standard output'}: {error.strerror or error}"
        is_read = not isinstance(error, BrokenPipeError)  # else the reader stopped, as `head` does
        return f"error: {_one_line(reason)}" if is_read else None, 1
    if isinstance(error, MemoryError) or (
            type(error).__name__ == "MXNetError" and "memory" in str(error).lower()):
        return "error: not enough memory on the device", 1
    raise error

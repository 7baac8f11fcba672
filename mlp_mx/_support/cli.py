"""What the commands share: argument types, one-line errors and exit codes."""

import argparse
import contextlib
import difflib
import errno
import functools
import math
import os
import signal
import sys
import warnings

from .._version import __version__
from . import signals
from .errors import Error, InputError
from .files import absolute

__all__ = [
    "ArgumentParser", "RawHelp", "check_different", "command", "complain", "nearest", "number",
    "path", "printable",
]


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default only where it is informative."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


# Of writing; the package's own files are named where they are written.
_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
RawHelp = argparse.RawDescriptionHelpFormatter


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with ``--version``, one-line errors, and no abbreviations."""

    def __init__(self, formatter_class=_HelpFormatter, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=formatter_class, **kwargs)
        self.add_argument("--version", action="version", version=f"mlp_mx {__version__}",
                          help="print the version and exit")

    def add_shared(self, *names):
        """Add arguments that several commands have: see `SHARED`."""
        for name in names:
            self.add_argument(name, **SHARED[name])

    def error(self, message):
        unknown = message.partition("unrecognized arguments: ")[2]
        hint = nearest(unknown.split("=")[0].split(" ")[0], self._option_string_actions)
        complain(f"error: {message} ({hint}--help lists the options)")
        self.exit(2)


def nearest(word, names):
    """Return "did you mean …? " with the most similar of some names, or "" if none is similar.

    A name whose words begin with the letters of `word` counts as the most similar:
    --learning-rate for --lr.
    """
    letters = word.strip("-")
    similar = [name for name in names
               if letters and letters == "".join(part[:1] for part in name.split("-"))]
    similar += difflib.get_close_matches(word, names, 1)
    return f"did you mean {similar[0]}? " if similar else ""


def printable(text):
    """Return the text in one line, with control characters escaped."""
    return "".join(character if character.isprintable() else
                   character.encode("unicode_escape", "surrogatepass").decode()
                   for character in " ".join(str(text).splitlines()))


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


def path(text):
    """Argument type: the name of a file or folder, which may or may not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    try:
        absolute(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from None
    return text


SHARED = {
    "model": {"type": path, "metavar": "MODEL", "help": "saved model, .npz or .params"},
    "--ctx": {"default": "auto", "metavar": "NAME", "help": "device: auto, cpu, gpu or gpu:N"},
    "--data-dir": {"type": path, "metavar": "DIR", "help": "folder for the data set"},
}


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
    """Print a line to standard error; ignore a full or closed stream."""
    try:
        if sys.stderr:
            print(printable(message), file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _show_warning(message, *args, **kwargs):
    complain(f"warning: {message}")


def _silence(stream):
    """Redirect a stream to nowhere: Python flushes it at exit, which would fail again."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or not a file at all
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def command(main):
    """Turn what ``main(argv=None)`` raises into one line on standard error and an exit code.

    The code is 0 for success, 2 for bad input, 1 for later failures, and, as in shells, 128 plus
    the number of the signal that ended the command: 130 for Ctrl-C, 143 for SIGTERM, 129 for
    SIGHUP, and 141, without a line, if the program that reads the output has ended. A `main` that
    has reported a failure itself returns the code.
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
    """Return the line to print and the exit code for an error; raise unexpected errors again."""
    if isinstance(error, Error):
        return f"error: {error}", error.exit_code
    if isinstance(error, signals.Stopped):
        return "; ".join(filter(None, [signals.MEANINGS[error.signum], *error.args])), \
            128 + error.signum
    if isinstance(error, MemoryError):
        return "error: not enough memory", 1
    if isinstance(error, OSError) and error.filename is None and error.errno in _OUTPUT_ERRORS:
        _silence(sys.stdout)
        if error.errno == errno.EPIPE:
            return None, 128 + signal.SIGPIPE
        return f"error: standard output: {error.strerror}", 1
    if isinstance(error, OSError):
        return f"error: {error.filename or type(error).__name__}: {error.strerror or error}", 1
    raise error

"""What the commands share: argument types, one-line errors, exit codes and progress bars."""

import argparse
import functools
import math
import os
import signal
import sys
import threading
import warnings

import tqdm

from . import Error

__all__ = ["ArgumentParser", "bar", "command", "integer", "number", "steps"]

INTERRUPTED = 128 + 2  # what a shell reports of a process that SIGINT ended


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with one-line errors, and without abbreviated options."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)

    def error(self, message):
        self.exit(2, f"error: {message} (--help lists the options)\n")


def _bounded(convert, kind, minimum, maximum):
    def parse(text):
        try:
            value = convert(text)
        except ValueError:
            value = math.nan  # fails the comparison below, as a literal "nan" does
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"expected {kind} from {minimum:.12g} to {maximum:.12g}, found {text!r}"
            )
        return value

    return parse


def integer(minimum, maximum):
    """Argument type: a whole number from `minimum` to `maximum`."""
    return _bounded(int, "a whole number", minimum, maximum)


def number(minimum, maximum):
    """Argument type: a finite number from `minimum` to `maximum`."""
    return _bounded(float, "a number", minimum, maximum)


def bar(iterable=None, show=True, **options):
    """A progress bar for a while, on standard error: if it is to be shown, and on a terminal.

    Parameters
    ----------
    iterable : iterable, optional
    show : bool, default True
    **options
        For `tqdm.tqdm`.
    """
    disable = None if show else True  # None: unless the stream is a terminal
    return tqdm.tqdm(iterable, leave=False, disable=disable, **options)


def steps(iterable, show=True, **options):
    """Pass on the items of an iterable under a `bar`, and stop between two of them at Ctrl-C."""
    for item in bar(iterable, show, **options):
        if _Interrupt.pending:
            raise KeyboardInterrupt
        yield item


class _Interrupt:
    """Handles Ctrl-C so that it is not lost, for as long as a command runs.

    Python's own handler raises an exception wherever the program happens to be. In MXNet that is
    often a destructor of an array, where exceptions are dropped; so there, `steps` raises it later,
    or the next Ctrl-C does at once.
    """

    pending = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, signum, frame):
        again, _Interrupt.pending = _Interrupt.pending, True
        while frame and not again:
            if frame.f_globals.get("__name__", "").startswith("mxnet."):
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    def __exit__(self, error_type, *_):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._previous)
        pending, _Interrupt.pending = _Interrupt.pending, False
        if pending and error_type is None:
            raise KeyboardInterrupt


def _show_warning(message, *args, **kwargs):
    print(f"warning: {message}", file=sys.stderr, flush=True)


def command(main):
    """Turn what ``main(argv=None)`` raises into one line on standard error and an exit code.

    The code is 0 when all went well, 2 for bad input, 1 for what went wrong later, 130 for Ctrl-C.
    A `main` that has reported what went wrong itself returns the code.
    """

    @functools.wraps(main)
    def run(argv=None):
        try:
            with _Interrupt(), warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = main(argv)
            if sys.stdout:
                sys.stdout.flush()
            return code or 0
        except Error as error:
            message, code = f"error: {error}", error.exit_code
        except KeyboardInterrupt:
            message, code = "interrupted", INTERRUPTED
        except OSError as error:  # most likely standard output is full, or nobody reads it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor fails again
            if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head -1` has
                return 1
            message, code = f"error: {error}", 1
        print(message, file=sys.stderr)
        return code

    return run

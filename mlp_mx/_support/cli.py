"""What the commands share: argument types, one-line errors, exit codes and progress bars."""

import argparse
import contextlib
import functools
import math
import os
import signal
import sys
import threading
import time
import warnings

import tqdm

from .. import Error, InputError

__all__ = [
    "ArgumentParser", "Stopped", "bar", "check_different", "command", "integer", "number", "path",
    "steps", "uninterrupted",
]

SAME = 1  # seconds for which a second signal counts as the first
MEANINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, put off until a step was done, so that nothing is left half done."""

    position = None
    """Where to go on, if whoever was at work has said so."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


RawHelp = argparse.RawDescriptionHelpFormatter


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with one-line errors, and without abbreviated options."""

    def __init__(self, formatter_class=_HelpFormatter, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=formatter_class, **kwargs)

    def error(self, message):
        self.exit(2, f"error: {_one_line(message)} (--help lists the options)\n")


def _one_line(message):
    return " ".join(str(message).splitlines())


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


def path(text):
    """Argument type: the name of a file or folder, which may or may not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    return text


def check_different(args, *names):
    """Raise an `InputError` if a file of one of these options is another one's, too."""
    files = {}
    for name in names:
        value = getattr(args, name)
        for file in [value] if isinstance(value, str) else value or ():
            if files.setdefault(os.path.realpath(file), name) != name:
                raise InputError(f"{file} is to be two different files; name two")


def bar(iterable=None, show=True, **options):
    """A progress bar for a while, on standard error: if it is to be shown, and on a terminal.

    Parameters
    ----------
    iterable : iterable, optional
    show : bool, default True
    **options
        For `tqdm.tqdm`.
    """
    disable = None if show and sys.stderr else True  # None: unless the stream is a terminal
    return tqdm.tqdm(iterable, leave=False, disable=disable, **options)


def steps(iterable, show=True, **options):
    """Pass on the items of an iterable under a `bar`; Ctrl-C and SIGTERM wait for the next item.

    Raises
    ------
    Stopped
        Between two items, if one of these signals has come.
    """
    with uninterrupted():
        for item in bar(iterable, show, **options):
            if _Signals.current.received:
                raise Stopped
            yield item


@contextlib.contextmanager
def uninterrupted():
    """Put Ctrl-C and SIGTERM off to the next of `steps`, or to the end; not a second one."""
    signals = _Signals.current
    signals.put_off += 1
    try:
        yield
    finally:
        signals.put_off -= 1


class _Signals:
    """Handles Ctrl-C and SIGTERM alike, for as long as a command runs.

    Python's own handler of Ctrl-C raises an exception wherever the program happens to be. In MXNet
    that is often a destructor of an array, where exceptions are dropped; so it is put off there.
    """

    current = None

    def __init__(self):
        self.received = None
        self.put_off = 0

    def __enter__(self):
        self._outer, _Signals.current = _Signals.current, self
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = {signum: signal.signal(signum, self._handle) for signum in MEANINGS}
        return self

    def _handle(self, signum, frame):
        now = time.monotonic()
        if not self.received:
            self._first = now
        self.received = signum
        # Programs such as timeout send the first one twice.
        if now < self._first + SAME and (self.put_off or _is_inside_mxnet(frame)):
            return
        raise KeyboardInterrupt

    def __exit__(self, error_type, *_):
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        _Signals.current = self._outer
        if self.received and error_type is None:
            raise KeyboardInterrupt


_Signals.current = _Signals()  # outside commands, where it receives nothing


def _is_inside_mxnet(frame):
    while frame:
        if frame.f_globals.get("__name__", "").startswith("mxnet."):
            return True
        frame = frame.f_back
    return False


def _show_warning(message, *args, **kwargs):
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _silence_output():
    """Let standard output go nowhere, so that it does not fail again at exit."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or not a file at all
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _is_lack_of_memory(error):
    return isinstance(error, MemoryError) or (
        type(error).__name__ == "MXNetError" and "memory" in str(error).lower())


def command(main):
    """Turn what ``main(argv=None)`` raises into one line on standard error and an exit code.

    The code is 0 when all went well, 2 for bad input, 1 for what went wrong later, and, as shells
    have it, 130 for Ctrl-C and 143 for SIGTERM.
    A `main` that has reported what went wrong itself returns the code.
    """

    @functools.wraps(main)
    def run(argv=None):
        signals = _Signals()
        if hasattr(sys.stdout, "reconfigure"):  # a file's name may hold anything
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with signals, warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = main(argv)
            if sys.stdout:
                sys.stdout.flush()
            return code or 0
        except Error as error:
            message, code = f"error: {_one_line(error)}", error.exit_code
        except KeyboardInterrupt as stop:
            signum = signals.received or signal.SIGINT
            message, code = "; ".join(filter(None, [MEANINGS[signum], *stop.args])), 128 + signum
        except OSError as error:  # most likely standard output is full, or nobody reads it
            _silence_output()
            if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head -1` has
                return 1
            message, code = f"error: {_one_line(error)}", 1
        except Exception as error:
            if not _is_lack_of_memory(error):
                raise
            message, code = "error: there is not enough memory for this on the device", 1
        print(message, file=sys.stderr)
        return code

    return run

"""Ctrl-C, and in commands SIGTERM and SIGHUP: deferred while MXNet works.

Python's own handler raises KeyboardInterrupt wherever the program happens to be. While MXNet works,
that is often the destructor of an array, where exceptions are dropped.
"""

import contextlib
import functools
import signal
import sys
import threading
import types

__all__ = ["MEANINGS", "Stopped", "check", "deferred", "handled"]

MEANINGS = {
    signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminal closed",
}
_state = types.SimpleNamespace(received=None, deferrals=0, outer=None)


class Stopped(KeyboardInterrupt):
    """A signal has ended the work between two steps; the message may say what was saved."""

    def __init__(self, signum, message=""):
        super().__init__(message)
        self.signum = signum


def check():
    """End the work here if a deferred signal has been received."""
    if _state.received and threading.current_thread() is threading.main_thread():
        signum = _state.received
        if _state.outer:  # not in a command: do what would have been done at once
            _state.received = None
            _state.outer(signum, sys._getframe())
        else:
            raise Stopped(signum)


@contextlib.contextmanager
def deferred():
    """Defer signals to the next `check`, which `progress.steps` calls, or to the end of the block.

    In a command, its signals (see `handled`) are deferred to the command's end; elsewhere, only
    Ctrl-C is deferred, in the main thread. A second Ctrl-C interrupts at once. Other signals are
    deferred even if they are repeated, because programs such as timeout send them twice.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    is_outermost = callable(handler) and handler is not _handle
    if is_outermost:
        _state.outer, _state.received = handler, None
        signal.signal(signal.SIGINT, _handle)
    _state.deferrals += is_main
    try:
        yield
    finally:
        _state.deferrals -= is_main
        if is_outermost:
            signal.signal(signal.SIGINT, handler)
            received, _state.outer, _state.received = _state.received, None, None
            if received and sys.exc_info()[0] is None:
                handler(received, sys._getframe())


@contextlib.contextmanager
def handled():
    """Handle the signals, except those that the parent process wants ignored.

    Every KeyboardInterrupt, and at the end a signal that is still deferred, becomes a `Stopped`.
    """
    _state.received, hook, previous = None, sys.unraisablehook, {}
    if threading.current_thread() is threading.main_thread():
        previous = {signum: signal.signal(signum, _handle) for signum in MEANINGS
                    if signal.getsignal(signum) not in (signal.SIG_IGN, None)}
    sys.unraisablehook = functools.partial(_hide_interrupts, hook)
    try:
        yield
        check()
    except KeyboardInterrupt as stop:
        raise Stopped(_state.received or signal.SIGINT, *stop.args) from None
    finally:
        sys.unraisablehook, _state.received = hook, None
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _handle(signum, frame):
    first = _state.received is None
    _state.received = _state.received or signal.Signals(signum)
    if _state.deferrals and (first or signum != signal.SIGINT):
        return
    if _state.outer:
        _state.received = None
        _state.outer(signum, frame)
    else:
        raise KeyboardInterrupt


def _hide_interrupts(hook, unraisable):
    """Print no traceback if a destructor drops KeyboardInterrupt: the next `check` raises it."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        hook(unraisable)

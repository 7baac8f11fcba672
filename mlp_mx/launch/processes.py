"""The processes of a job, watched and ended together."""

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time

from .. import Error, InputError
from .._support import signals
from .._support.progress import steps

POLL = 0.05  # seconds between two looks at the processes
GRACE = 3  # seconds that processes have to end by themselves, before they are killed
BEAT = 5  # seconds between two signs of life for processes on other machines
PR_SET_PDEATHSIG = 1


class JobError(Error):
    """A process of the job has failed, and the job with it."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


class Process:
    """A process of a job, which dies with this one.

    Parameters
    ----------
    name : str
        Its role, with a number or more, for messages.
    command : list of str
    environment : dict or None
        None is this process's.
    is_remote : bool, default False
        Whether the command is ssh, with `mlp_mx.launch.remote` at its other end.
    said : dict
        Which process of the job was the first to say a line on standard error.
    """

    def __init__(self, name, command, environment, is_remote=False, *, said):
        self.name, self._is_remote, self._said = name, is_remote, said
        self._unread, self._last_line, self._is_quiet = b"", "", False
        stdin = subprocess.PIPE if is_remote else subprocess.DEVNULL
        self._popen = start(command, env=environment, stdin=stdin, stderr=subprocess.PIPE)
        os.set_blocking(self._popen.stderr.fileno(), False)

    def poll(self):
        """Pass on what it says; the exit code, 128 + n for signal n, or None while it runs."""
        code = self._popen.poll()
        if code is not None:
            send(signal.SIGKILL, self._popen)  # to what it has started and left behind
        *lines, self._unread = (self._unread + (self._popen.stderr.read() or b"")).split(b"\n")
        for line in filter(None, lines):
            self._last_line = line.decode(errors="replace")
            # An error may be what the process ends with, and is then for `error` to say.
            if not (self._is_quiet or line.startswith(b"error: ")):
                if self._said.setdefault(line, self.name) == self.name:
                    print(f"{self.name}: {self._last_line}", file=sys.stderr, flush=True)
        return exit_code(code)

    def beat(self):
        """Give the other machine a sign of life."""
        if self._is_remote:
            with contextlib.suppress(OSError):  # it has ended, as `poll` will tell
                os.write(self._popen.stdin.fileno(), b"\n")

    def stop(self):
        """Ask it to end."""
        if self._is_remote:  # the command there ends with its standard input, and ssh after it
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        else:
            send(signal.SIGTERM, self._popen)

    def silence(self):
        """Pass on nothing more of what it says."""
        self._is_quiet = True

    def kill(self):
        """End it at once."""
        send(signal.SIGKILL, self._popen)
        self._popen.wait()

    def error(self):
        """A `JobError` that says how the process has ended."""
        code = self.poll()
        how = f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            how = f"was killed by {signal.Signals(code - 128).name}"
        if self._last_line.startswith("error: "):
            how += f": {self._last_line[len('error: '):]}"
        elif self._last_line:
            how += f"; its last message: {self._last_line}"
        return JobError(f"{self.name} {how}", code)


def exit_code(code):
    """As shells have it: 128 + n for a process that signal n has killed."""
    return 128 - code if code is not None and code < 0 else code


def start(command, **options):
    """Start a command in a session of its own, which on Linux dies with this process."""
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def die_with_parent():
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it has died before
                os._exit(1)

    try:
        return subprocess.Popen(
            command, start_new_session=True, preexec_fn=die_with_parent, **options)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error


def send(number, popen):
    """Send a signal to a process that `start` has started, and to those that it has."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, number)


def run(parts):
    """Run a job until its workers have ended, or until a process fails.

    Parameters
    ----------
    parts : list of tuple
        Arguments for `Process`.

    Raises
    ------
    InputError
        If a command cannot be run.
    JobError
        If a process has failed. All have been ended then, as they are at Ctrl-C or SIGTERM.
    """
    processes, said = [], {}
    try:
        for part in parts:
            processes.append(Process(*part, said=said))
        _watch(processes)
    finally:
        try:
            with signals.deferred():
                for process in processes:
                    process.silence()
                    process.stop()
                _wait(processes)
        finally:
            for process in processes:
                process.kill()


def _watch(processes):
    """Wait until the workers have ended; raise the `JobError` of the first process to fail."""
    workers = [process for process in processes if process.name.startswith("worker")]
    try:
        for tick in steps(itertools.count(), show=False):
            for process in processes:
                if process.poll():
                    raise process.error()
                if tick % (BEAT / POLL) == 0:
                    process.beat()
            if all(worker.poll() == 0 for worker in workers):
                break
            time.sleep(POLL)
    except signals.Stopped:
        workers[0].stop()  # alone: without the others it could not finish its batch
        _wait(workers[:1])
        raise
    _wait(processes)


def _wait(processes):
    """Wait until all of the processes have ended, or for a while."""
    deadline = time.monotonic() + GRACE
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL)

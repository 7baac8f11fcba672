"""Run the processes of a job, and end them together: all on this machine, or the one of a rank.

A job is a scheduler, through which the others find each other; servers, which sum what workers push
to MXNet's kvstore; and workers, which run the command.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import time

from .. import runtime
from .._support import cli, signals
from .._support.errors import Error, InputError
from ..runtime.environment import START
from .roles import Job

__all__ = ["Job", "run"]


def __dir__():
    return __all__


# In a scheduler or a server, importing MXNet serves the job, and does not return before its end.
SERVE = ["python", "-c", "from mlp_mx import runtime; runtime.load()"]
POLL = 0.1  # seconds between two looks at the processes
GRACE = 3  # seconds that a process has to end, before it is killed
SILENCE = 20  # seconds without the scheduler, after which the process of a rank ends
TAIL = 2**16  # bytes of a process's errors that are kept, as many as a pipe holds
KILLED = {128 + number: f"was killed by {number.name}" for number in signal.Signals}


def run(job, rank=None):
    """Run a job until its workers end, or any of its processes fails; then end the others.

    Parameters
    ----------
    job : Job
    rank : int, optional
        Run only this rank's process: mpirun or srun starts the others. It also ends if it cannot
        reach the scheduler for a while, as when a cable is unplugged.

    Raises
    ------
    Error
        If a process fails; its ``exit_code`` is the process's.
    InputError
        If the command cannot be run, or the scheduler cannot listen at its address.
    """
    with contextlib.ExitStack() as stack:
        if not rank:  # the scheduler is here
            job = job._replace(address=stack.enter_context(_bound(job.address)).getsockname())
        stack.enter_context(signals.deferred())
        processes = []
        for each in range(len(job.roles)) if rank is None else [rank]:
            processes.append(_Process(job, each, alone=rank is not None))
            stack.callback(processes[-1].end, 0)
        awaited = processes[1 + job.num_servers:] or processes
        # The first worker ends before the others, which it needs to finish its batch.
        stack.callback(awaited[0].end, GRACE)
        contact = itertools.repeat(None) if rank is None else _contact(job.address)
        while any(process.popen.returncode is None for process in awaited):
            signals.check()
            for process in processes:
                process.check()
            next(contact)
            time.sleep(POLL)


class _Process:
    """A process of a job.

    Standard error is shown as it comes for the first worker and for a process that is alone on this
    machine; for another process, the last part of it is shown if the process fails.
    """

    def __init__(self, job, rank, alone):
        role, number = job.roles[rank]
        self.name, self._errors = f"{role} {number}", b""
        if alone:
            defaults = {"MLP_MX_HOST": socket.gethostname()}
            self.name += f" on {socket.gethostname()}"
        else:  # MXNet's own default is half of the cores
            threads = (os.cpu_count() or 1) // 2 // job.num_workers
            defaults = {"OMP_NUM_THREADS": str(max(1, threads))}
        environment = runtime.inherited({
            **defaults, **os.environ, **job.variables(rank),
            "DMLC_NODE_HOST": _own_address(job.address[0])})
        shown = alone or (role, number) == ("worker", 0)
        self.popen = _start(job.command if role == "worker" else SERVE, env=environment,
                            stderr=None if shown else subprocess.PIPE)
        if self.popen.stderr:
            os.set_blocking(self.popen.stderr.fileno(), False)

    def check(self):
        """Raise an `Error` if the process has failed."""
        code = self.popen.poll()
        self._read()
        if code:
            if self._errors:
                for line in self._errors.decode(errors="replace").splitlines():
                    cli.complain(line)
            code = 128 - code if code < 0 else code
            error = Error(f"{self.name} {KILLED.get(code, f'ended with exit code {code}')}")
            error.exit_code = code
            raise error

    def _read(self):
        """Keep the last errors, and read on so that the process can go on writing."""
        for _ in range(100):  # not forever, if it writes as fast
            said = self.popen.stderr and self.popen.stderr.read(TAIL)
            if not said:
                break
            self._errors = (self._errors + said)[-TAIL:]

    def end(self, grace):
        """End the process, within `grace` seconds, and what it has started."""
        try:
            if self.popen.poll() is None:
                os.killpg(self.popen.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        finally:
            with self.popen, contextlib.suppress(ProcessLookupError):  # waits, and closes the pipe
                os.killpg(self.popen.pid, signal.SIGKILL)


def _start(command, **options):
    """Start a command in a session of its own, which on Linux dies with this process."""
    first, *others = command
    if first in ("python", "python3"):  # as users write it
        first = sys.executable
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        options["preexec_fn"] = lambda: prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with _refused(f"{first!r} cannot be run"):
        return subprocess.Popen([first, *others], stdin=subprocess.DEVNULL, bufsize=0,
                                start_new_session=True, **options)


def _contact(address):
    """Check now and then that the scheduler can be reached; raise an `Error` if not for long."""
    deadline = time.monotonic() + START
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, 1):
            deadline = time.monotonic() + SILENCE
        look = time.monotonic() + 2
        while time.monotonic() < look:
            if time.monotonic() > deadline:
                raise Error("the scheduler cannot be reached at {}:{}".format(*address))
            yield


@contextlib.contextmanager
def _refused(what):
    """Turn what the system refuses into an `InputError` that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: {error.strerror or error}") from error


def _bound(address):
    """Return a socket that reserves a port (0: any)."""
    sock = socket.socket()  # does not listen, so the scheduler can, which sets SO_REUSEADDR, too
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with _refused("the scheduler cannot listen at {}:{} on {}".format(
            *address, socket.gethostname())):
        try:
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    return sock


def _own_address(host):
    """The IP address of this machine that `host` reaches it at; nothing is sent there."""
    with _refused(f"{host} cannot be reached from {socket.gethostname()}"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, 9))
            return sock.getsockname()[0]

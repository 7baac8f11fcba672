"""Start the processes of a job on this machine or on several, and end them together.

A job is a scheduler, through which the others find each other; servers, which sum what workers push
to MXNet's kvstore; and workers, which run the command. `run` starts them here, or over ssh. On
other machines, and with mpirun and srun, this launcher runs again, and `become` turns it into one
process of the job.
"""

import contextlib
import ctypes
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from .. import Error, InputError
from .._support import signals

# In a scheduler or a server, importing MXNet serves the job, and does not return before its end.
SERVE = ["python", "-c", "from mlp_mx import runtime; runtime.load()"]
PASSED_ON = ("MLP_MX_DATA", "OMP_NUM_THREADS", "PYTHONPATH")  # to hosts
SSH_RANK = "MLP_MX_SSH_RANK"
SSH = [
    "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
    "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
]
POLL = 0.1  # seconds between two looks at the processes
GRACE = 3  # seconds that a process has to end, before it is killed
START = 60  # seconds until the scheduler can be reached,
SILENCE = 20  # and without it later, after which a part of a job ends
KILLED = {128 + number: f"was killed by {number.name}" for number in signal.Signals}


@contextlib.contextmanager
def refused(what):
    """Turn what the system refuses into an `InputError` that begins with `what`."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what}: {getattr(error, 'strerror', None) or error}") from error


class Job(NamedTuple):
    """The command of the workers, how many processes there are, where the scheduler listens."""

    command: list
    num_workers: int
    num_servers: int
    address: tuple

    def part(self, rank):
        """A rank's role, its number in that role, its command, and variables for it."""
        roles = ["scheduler", *["server"] * self.num_servers, *["worker"] * self.num_workers]
        role, number = roles[rank], rank - roles.index(roles[rank])
        first, *others = self.command if role == "worker" else SERVE
        is_python = first in ("python", "python3")  # as users write it
        return role, number, [sys.executable if is_python else first, *others], {
            "DMLC_ROLE": role, "MLP_MX_RANK": str(number),
            "DMLC_PS_ROOT_URI": self.address[0], "DMLC_PS_ROOT_PORT": str(self.address[1]),
            "DMLC_NUM_WORKER": str(self.num_workers), "DMLC_NUM_SERVER": str(self.num_servers),
        }


class Process:
    """A process of a job: over ssh if there are hosts, on which this launcher then starts it.

    The first worker's errors are shown at once; those of another process, if it fails.
    """

    def __init__(self, job, rank, hosts, python, errors):
        role, number, command, variables = job.part(rank)
        self.name = f"{role} {number}"
        threads = max(1, (os.cpu_count() or 1) // 2 // job.num_workers)  # MXNet's default, shared
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **variables,
                       "DMLC_NODE_HOST": job.address[0]}
        stdin = subprocess.DEVNULL
        if hosts and role != "scheduler":
            host = hosts[number % len(hosts)]
            self.name += f" on {host}"
            command = [*SSH, "--", host, _line(job, rank, host, python)]
            environment, stdin = None, subprocess.PIPE
        self._errors = None if (role, number) == ("worker", 0) else errors
        self.popen = _start(command, env=environment, stdin=stdin, stderr=self._errors)

    def check(self):
        """Raise an `Error` if the process has failed."""
        if self.popen.poll():
            if self._errors:
                self._errors.seek(0)
                print(self._errors.read().decode(errors="replace"), end="", file=sys.stderr)
            code = _end(self.popen, 0)
            error = Error(f"{self.name} {KILLED.get(code, f'ended with exit code {code}')}")
            error.exit_code = code
            raise error


def run(job, hosts, python):
    """Run a job until its workers end, or any of its processes fails; then end the others.

    Servers and workers run here or, assigned in turn, on the hosts; the scheduler runs here.
    """
    with bound(job.address) as port, signals.deferred(), contextlib.ExitStack() as stack:
        job, processes = job._replace(address=port.getsockname()), []
        for rank in range(1 + job.num_servers + job.num_workers):
            errors = stack.enter_context(tempfile.TemporaryFile())
            processes.append(Process(job, rank, hosts, python, errors))
            stack.callback(_end, processes[rank].popen, 0)
        workers = processes[1 + job.num_servers:]
        # The first worker ends before the others, which it needs to finish its batch.
        stack.callback(_end, workers[0].popen, GRACE)
        while any(worker.popen.returncode is None for worker in workers):
            signals.check()
            for process in processes:
                process.check()
            time.sleep(POLL)


def _line(job, rank, host, python):
    """The line for a host's shell: this launcher, as a rank of the job, in this folder."""
    passed_on = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
    words = [
        "env", *passed_on, f"{SSH_RANK}={rank}", f"MLP_MX_HOST={host}", python, "-m",
        "mlp_mx.launch", "-n", str(job.num_workers), "-s", str(job.num_servers),
        "--address", "{}:{}".format(*job.address), "--", *job.command]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}"


def become(job, rank):
    """Run a part of a job for this process, which ssh, mpirun or srun has started, and exit.

    The part ends if the scheduler is out of reach for a while, as when a cable is unplugged; over
    ssh, also if the launcher, at the other end of standard input, has ended.
    """
    role, _, command, variables = job.part(rank)
    if role == "scheduler":
        bound(job.address).close()  # or say why not
    os.environ.setdefault("MLP_MX_HOST", socket.gethostname())
    os.environ.update(variables, DMLC_NODE_HOST=own_address(job.address[0]))
    stdin = [sys.stdin] if SSH_RANK in os.environ else []
    with signals.deferred():
        popen = _start(command, stdin=subprocess.DEVNULL)
        look, deadline = 0, time.monotonic() + START
        with contextlib.suppress(signals.Stopped):  # the part says so itself
            while popen.poll() is None and not select.select(stdin, [], [], POLL)[0]:
                signals.check()
                if time.monotonic() > look:
                    with contextlib.suppress(OSError), socket.create_connection(job.address, 1):
                        look, deadline = time.monotonic() + 2, time.monotonic() + SILENCE
                if time.monotonic() > deadline:
                    print("error: the scheduler cannot be reached", file=sys.stderr)
                    break
        sys.exit(_end(popen, GRACE))


def _start(command, **options):
    """Start a command in a session of its own, which on Linux dies with this process."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        options["preexec_fn"] = lambda: prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with refused(f"{command[0]} cannot be run"):
        return subprocess.Popen(command, start_new_session=True, **options)


def _end(popen, grace):
    """End a process and what it has started; its exit code is 128 + n if signal n has ended it."""
    try:
        if popen.stdin:
            popen.stdin.close()  # which `become` sees at the other end of ssh
        elif popen.poll() is None:
            os.killpg(popen.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(grace)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        code = popen.wait()
    return 128 - code if code < 0 else code


def bound(address):
    """A socket that keeps a port, 0 for any, from other programs."""
    sock = socket.socket()  # does not listen, so the scheduler can, which sets SO_REUSEADDR, too
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with refused(f"the scheduler cannot listen at {address[0]}:{address[1]} of "
                 f"{socket.gethostname()}"):
        try:
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    return sock


def own_address(host):
    """The IP address of this machine that `host` reaches it at; nothing is sent there."""
    with refused(f"{host} cannot be reached from {socket.gethostname()}"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, 9))
            return sock.getsockname()[0]

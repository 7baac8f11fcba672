"""Start the processes of a job on this machine or on several, and end them together.

    python -m mlp_mx.launch -n 4 -s 2 -- python -m mlp_mx.train --kvstore dist_sync

A job is `n` workers, `s` servers, which sum up what the workers push to MXNet's kvstore, and a
scheduler, through which they find each other. All run the same command; ``DMLC_ROLE`` tells
them apart, and MXNet, when it is imported, turns a process into a server or the scheduler.

MXNet's wheel brings ``dmlc_tracker``, which knows how processes are started on a cluster. It does
not notice when one of them dies, and cannot start its own scheduler on Python 3.9 or later; so here
it only says what to run.
"""

import contextlib
import ctypes
import importlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types

from .. import Error, InputError
from .._support import signals
from .._support.progress import steps

__all__ = ["JobError", "Process", "cluster_job", "local_job", "supervise"]

LOOPBACK = "127.0.0.1"
POLL = 0.05  # seconds between two looks at the processes
GRACE = 2  # seconds that processes have to end by themselves, before they are killed
SAVE_GRACE = 10  # seconds that a worker has to finish a batch and to save, when interrupted
CLUSTERS = {"ssh": "ssh", "slurm": "srun", "mpi": "mpirun", "sge": "qsub"}  # and what they need
# Variables that processes on other machines are given; those on this machine have them all.
PASSED_ON = ("MLP_MX_BLAS", "MLP_MX_DATA", "PYTHONPATH")
# Said by a remote shell: ends its processes when the connection ends, which closes standard input.
END_WITH_CONNECTION = "exec 3<&0; (cat <&3; kill -KILL 0) >/dev/null 2>&1 & exec"
SGE_LOGS = "mlp_mx.sge-logs"  # folder for what processes print there
PR_SET_PDEATHSIG = 1


class JobError(Error):
    """A process of the job has died, and the job with it."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


class Process:
    """A process of a job, which dies with this one.

    Parameters
    ----------
    role : {"scheduler", "server", "worker"}
    name : str
        For messages, such as ``"worker 1"``.
    command : list of str or str
        A string is for the shell.
    environment : dict
        Variables to add to this process's.
    said : dict
        Which process of the job was the first to say a line on standard error.
    """

    def __init__(self, role, name, command, environment, said):
        self.role = role
        self.name = name
        self._said = said
        self._last_line = ""
        self._code = None
        self._popen = subprocess.Popen(
            command, env={**os.environ, **environment}, shell=isinstance(command, str),
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=_dying_with(os.getpid()),
        )
        self._relay = threading.Thread(target=self._read_errors, daemon=True)

    def listen(self):
        """Pass on what it says; after all are started, since threads and forks disagree."""
        self._relay.start()

    def _read_errors(self):
        reason = None  # an error that may be what the process ends with, and then is `error`'s
        with self._popen.stderr as lines:
            for line in lines:
                self._say(reason)
                line = line.decode(errors="replace").rstrip()
                self._last_line = line or self._last_line
                reason = line if line.startswith("error: ") else self._say(line)
        if self._popen.wait() == 0:
            self._say(reason)

    def _say(self, line):
        """Print a line, unless another process of the job has said it before."""
        if line is not None and self._said.setdefault(line, self.name) == self.name:
            print(f"{self.name}: {line}", file=sys.stderr, flush=True)

    def poll(self):
        """The exit code, negative for a signal, or None while the process runs."""
        if self._code is None:
            self._code = self._popen.poll()
            if self._code is not None:
                self.signal(signal.SIGKILL)  # to what it has started and left behind
                self._popen.stdin.close()
        return self._code

    def signal(self, number):
        """Send a signal to the process, and to those that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def error(self):
        """A `JobError` that says how the process has ended."""
        self._relay.join(timeout=1)
        if self._code < 0:
            how, code = f"was killed by signal {-self._code}", 128 - self._code
            with contextlib.suppress(ValueError):  # a real-time signal, which has no name
                how = f"was killed by {signal.Signals(-self._code).name}"
        else:
            how, code = f"ended with exit code {self._code}", self._code
        if self._last_line.startswith("error: "):
            how += f": {self._last_line[len('error: '):]}"
        elif self._last_line:
            how += f"; the last that it said was: {self._last_line}"
        return JobError(f"{self.name} {how}", code)


def _dying_with(parent):
    """What a child is to call before it runs its command, so that it cannot outlive `parent`."""
    libc = ctypes.CDLL(None)

    def ask_for_signal():
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it has died before
                os._exit(1)

    return ask_for_signal


@contextlib.contextmanager
def _address(host):
    """Lend out the variables that say where the scheduler of a job is: on a free port of `host`.

    A socket keeps the port from other programs for the while, but, as it does not listen, not from
    the scheduler, which also sets SO_REUSEADDR.
    """
    with socket.socket() as placeholder:
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            placeholder.bind((host, 0))
        except OSError as error:
            raise InputError(f"{host} is no address of this machine: {error.strerror}") from error
        port = placeholder.getsockname()[1]
        yield {"DMLC_PS_ROOT_URI": host, "DMLC_PS_ROOT_PORT": str(port)}


@contextlib.contextmanager
def _ended_together(processes):
    """End all of the processes, those too that are added in the meantime, when the block ends."""
    try:
        yield processes
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in processes:
                if process.poll() is None:
                    process.signal(number)
            _wait(processes, GRACE)


def local_job(command, num_workers, num_servers):
    """Run a job on this machine, where only this machine can reach it.

    Parameters
    ----------
    command : list of str
    num_workers, num_servers : int

    Raises
    ------
    InputError
        If the command cannot be run.
    JobError
        As `supervise` does.
    """
    threads = max(1, (os.cpu_count() or 1) // 2 // num_workers)  # MXNet's default, shared out
    counts = {"scheduler": 1, "server": num_servers, "worker": num_workers}
    with _address(LOOPBACK) as address, _ended_together([]) as processes:
        job = {
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
            "DMLC_NODE_HOST": LOOPBACK, **_sizes(num_workers, num_servers), **address,
        }
        said = {}
        for role, count in counts.items():
            for rank in range(count):
                name = role if role == "scheduler" else f"{role} {rank}"
                environment = {**job, "DMLC_ROLE": role, "MLP_MX_RANK": str(rank)}
                processes.append(_started(role, name, command, environment, said))
        supervise(processes)


def cluster_job(command, num_workers, num_servers, cluster, hosts=None, address=None):
    """Run a job on other machines, with its scheduler on this one.

    Parameters
    ----------
    command : list of str
        Run in a folder of the same name as this one's.
    num_workers, num_servers : int
    cluster : {"ssh", "slurm", "mpi", "sge"}
    hosts : path-like, optional
        File with a host in each line, needed for "ssh" and possible for "mpi".
    address : str, optional
        IP address at which the hosts reach this machine; by default that of its name.

    Raises
    ------
    InputError
        If the command or the cluster's cannot be run, or if there is no such file or address.
    JobError
        As `supervise` does.
    """
    if not shutil.which(CLUSTERS[cluster]):
        raise InputError(f"a job by {cluster} needs {CLUSTERS[cluster]}, which is not installed")
    host = _tracker("tracker").get_host_ip(address)
    with _address(host) as scheduler, _ended_together([]) as processes:
        job = {**_sizes(num_workers, num_servers), **scheduler}
        said = {}
        processes.append(
            _started("scheduler", "scheduler", command, {**job, "DMLC_ROLE": "scheduler"}, said)
        )
        job.update({name: os.environ[name] for name in PASSED_ON if name in os.environ})
        lines = _cluster_lines(cluster, command, num_workers, num_servers, hosts, job)
        for role, name, line in lines:
            processes.append(_started(role, name, line, {}, said))
        supervise(processes)


def _sizes(num_workers, num_servers):
    return {"DMLC_NUM_WORKER": str(num_workers), "DMLC_NUM_SERVER": str(num_servers)}


def _started(role, name, command, environment, said):
    try:
        return Process(role, name, command, environment, said)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error


def _tracker(name):
    try:
        return importlib.import_module(f"dmlc_tracker.{name}")
    except ImportError as error:
        raise Error(f"MXNet's wheel, which brings dmlc_tracker, is not here: {error}") from error


def _quoted(word):
    """A word as dmlc_tracker can put it between single quotes, for a shell to read."""
    if "'" in word or "\n" in word:
        raise InputError(f"expected no quotation mark and no line break, found {word!r}")
    return re.sub(r"[^\w@%+=:,./-]", r"\\\g<0>", word)


def _cluster_lines(cluster, command, num_workers, num_servers, hosts, job):
    """What to run for the workers and the servers: tuples (role, name, line for the shell)."""
    dmlc = _tracker(cluster)
    job = {name: _quoted(value) for name, value in job.items()}
    lines = []

    def submit(*_, fun_submit, **__):
        """Take the place of dmlc_tracker.tracker's, which would start the scheduler."""
        for role, counts in (("server", (0, num_servers)), ("worker", (num_workers, 0))):
            variables = {**job, "DMLC_ROLE": role}

            def record(line, shell, role=role, variables=variables):
                host = variables.get("DMLC_NODE_HOST")  # where each process is started by itself
                if host:  # ps-lite listens at addresses, not at names
                    line = line.replace(f"_HOST={host};", f"_HOST={_ip(host)};", 1)
                lines.append((role, f"{role} on {host}" if host else f"{role}s", line))

            dmlc.subprocess = types.SimpleNamespace(
                check_call=record, Popen=subprocess.Popen, PIPE=subprocess.PIPE
            )
            fun_submit(*counts, variables)

    dmlc.tracker, dmlc.Thread = types.SimpleNamespace(submit=submit), _AtOnce
    prefix = [END_WITH_CONNECTION] if cluster == "ssh" else []
    dmlc.submit(types.SimpleNamespace(
        num_workers=num_workers, num_servers=num_servers, host_file=hosts, host_ip=None,
        command=prefix + [_quoted(word) for word in command], sync_dst_dir=None,
        slurm_worker_nodes=None, slurm_server_nodes=None,
        # -sync: qsub is to wait for the job, and to remove it when it is ended itself.
        jobname="mlp_mx -sync y", sge_log_dir=SGE_LOGS, logdir=SGE_LOGS, queue="default", vcores=1,
    ))
    return lines


def _ip(host):
    try:
        return socket.gethostbyname(host.split("@")[-1])
    except OSError as error:
        raise InputError(f"the host {host} has no address: {error.strerror}") from error


class _AtOnce:
    """Stands for the threads that dmlc_tracker starts: does what they would do, and returns."""

    def __init__(self, target, args):
        self.start = lambda: target(*args)

    def setDaemon(self, daemonic):  # noqa: N802
        pass


def supervise(processes):
    """Wait until a job has ended.

    Parameters
    ----------
    processes : list of Process

    Raises
    ------
    JobError
        As soon as a process has ended otherwise than with exit code 0. Others may still be running.
    mlp_mx._support.signals.Stopped
        In a command, at Ctrl-C, SIGTERM or SIGHUP, after the first worker had a while to save.
    """
    workers = [process for process in processes if process.role == "worker"]
    for process in processes:
        process.listen()
    try:
        for _ in steps(itertools.repeat(None), show=False):
            for process in processes:
                if process.poll():
                    raise process.error()
            if not any(worker.poll() is None for worker in workers):
                break
            time.sleep(POLL)
    except signals.Stopped:
        # The others stay, since without them it could not finish its batch.
        workers[0].signal(signal.SIGTERM)
        _wait(workers[:1], SAVE_GRACE)
        raise
    _wait(processes, GRACE)


def _wait(processes, seconds):
    """Wait until all of the processes have ended, or for some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(POLL)

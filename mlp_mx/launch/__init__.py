"""Start the processes of a job on this machine or on several, and end them together.

    python -m mlp_mx.launch -n 4 -s 2 -- python -m mlp_mx.train

A job is a scheduler, through which the others find each other; servers, which sum what workers push
to MXNet's kvstore; and workers, which run the command. This module starts them on one machine or by
ssh. mpirun and srun start processes themselves, and `become` turns each into its part of the job.
"""

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
from typing import NamedTuple

from .. import InputError
from .processes import JobError, run

__all__ = ["Job", "JobError", "become", "local_job", "own_address", "ssh_job"]

LOOPBACK = "127.0.0.1"
# MXNet, when it is imported, serves in a process whose role is not to work.
SERVE = ["-c", "from mlp_mx import runtime; runtime.load()"]
# Variables that processes on other machines are given, too.
PASSED_ON = ("MLP_MX_BLAS", "MLP_MX_DATA", "OMP_NUM_THREADS", "PYTHONPATH")
SSH = [
    "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
    "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
]


class Job(NamedTuple):
    """What runs in how many processes: rank 0 is the scheduler; servers come next, then workers."""

    command: list
    """What workers run, list of str; ``python`` in its first place is `python`."""
    num_workers: int
    num_servers: int
    address: tuple = (LOOPBACK, 0)
    """Where the scheduler listens: IP address and port, 0 for any."""
    python: str = sys.executable

    @property
    def size(self):
        """Number of processes."""
        return 1 + self.num_servers + self.num_workers

    def part(self, rank):
        """The role of a rank, its number in that role, its command, and variables to add."""
        roles = ["scheduler", *["server"] * self.num_servers, *["worker"] * self.num_workers]
        role, number = roles[rank], rank - roles.index(roles[rank])
        first, *others = self.command if role == "worker" else ["python", *SERVE]
        variables = {
            "DMLC_ROLE": role, "MLP_MX_RANK": str(number),
            "DMLC_PS_ROOT_URI": self.address[0], "DMLC_PS_ROOT_PORT": str(self.address[1]),
            "DMLC_NUM_WORKER": str(self.num_workers), "DMLC_NUM_SERVER": str(self.num_servers),
        }
        return role, number, [self.python if first == "python" else first, *others], variables

    @contextlib.contextmanager
    def with_port(self):
        """The job with a port that is kept from other programs for the while.

        The socket that keeps it does not listen, and so does not keep it from the scheduler, which
        sets SO_REUSEADDR, too.
        """
        with socket.socket() as placeholder:
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                placeholder.bind(self.address)
            except OSError as error:
                raise InputError("the scheduler cannot listen at {}:{} of {}: {}".format(
                    *self.address, socket.gethostname(), error.strerror)) from error
            yield self._replace(address=placeholder.getsockname())


def local_job(job):
    """Run a job on this machine, where only this machine can reach it.

    Raises
    ------
    InputError
        If the command cannot be run.
    JobError
        If a process has failed. All have been ended then, as they are at Ctrl-C or SIGTERM.
    """
    threads = max(1, (os.cpu_count() or 1) // 2 // job.num_workers)  # MXNet's default, shared out
    shared = {"OMP_NUM_THREADS": str(threads), **os.environ, "DMLC_NODE_HOST": LOOPBACK}
    with job.with_port() as job:
        run([(f"{role} {number}", command, {**shared, **variables})
             for role, number, command, variables in map(job.part, range(job.size))])


def ssh_job(job, hosts):
    """Run a job on other machines, in a folder of the same name, with its scheduler on this one.

    Worker i runs on host i of the list, and so does server i; if it ends, it starts over.
    If the job has no address, it is the one where the first host reaches this machine.

    Raises
    ------
    InputError, JobError
        As `local_job` does.
    """
    if not job.address:
        job = job._replace(address=(own_address(_host_name(hosts[0])), 0))
    with job.with_port() as job:
        parts = []
        for role, number, command, variables in map(job.part, range(job.size)):
            if role == "scheduler":
                variables["DMLC_NODE_HOST"] = job.address[0]
                command[0] = sys.executable
                parts.append((role, command, {**os.environ, **variables}))
            else:
                host = hosts[number % len(hosts)]
                line = _remote_line(job.python, command, {**variables, "MLP_MX_HOST": host})
                parts.append((f"{role} {number} on {host}", [*SSH, "--", host, line], None, True))
        run(parts)


def _host_name(host):
    """Where an alias of ~/.ssh/config leads."""
    config = subprocess.run(["ssh", "-G", "--", host], stdout=subprocess.PIPE, text=True).stdout
    return re.search("^hostname (.*)$|$", config, re.MULTILINE).group(1) or host


def own_address(host):
    """The IP address of this machine that `host` reaches it at; nothing is sent there."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, 9))
            return sock.getsockname()[0]
    except OSError as error:
        raise InputError(
            f"{host} cannot be reached from {socket.gethostname()}: {error.strerror}") from error


def _remote_line(python, command, variables):
    """The line for a host's shell to run a command in this folder, for as long as we live."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables = [f"{name}={value}" for name, value in {**passed_on, **variables}.items()]
    words = ["env", *variables, python, "-m", "mlp_mx.launch.remote", *command]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}"


def become(job, rank):
    """Turn this process, one of those that mpirun or srun has started, into its part of a job.

    Raises
    ------
    InputError
        If the command cannot be run, or the scheduler cannot listen at the job's address.
    """
    role, _, command, variables = job.part(rank)
    if role == "scheduler":
        with job.with_port():  # or say why not
            pass
    os.environ.update(variables, DMLC_NODE_HOST=own_address(job.address[0]),
                      MLP_MX_HOST=socket.gethostname())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error

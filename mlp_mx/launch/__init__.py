"""Start the processes of a job on this machine or on several, and end them together.

    python -m mlp_mx.launch -n 4 -s 2 -- python -m mlp_mx.train

A job is a scheduler, through which the others find each other, `s` servers, which sum what workers
push to MXNet's kvstore, and `n` workers, which run the command. This module starts them on one
machine or by ssh; mpirun and srun start them themselves, and `become` turns each into its part.
"""

import contextlib
import os
import shlex
import socket
import subprocess
import sys

from .. import InputError
from .processes import JobError, Part, run

__all__ = ["JobError", "become", "local_job", "own_address", "ssh_job"]

LOOPBACK = "127.0.0.1"
# MXNet, when it is imported, serves in a process whose role is not to work.
SERVE = ["-c", "from mlp_mx import runtime; runtime.load()"]
# Variables that processes on other machines are given, too.
PASSED_ON = ("MLP_MX_BLAS", "MLP_MX_DATA", "OMP_NUM_THREADS", "PYTHONPATH")
SSH = [
    "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
    "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
]


def _roles(num_workers, num_servers):
    """The role of each rank, and its number among those of that role."""
    counts = {"scheduler": 1, "server": num_servers, "worker": num_workers}
    return [(role, number) for role, count in counts.items() for number in range(count)]


def _variables(role, number, num_workers, num_servers, address):
    """What tells a process its part in the job."""
    host, port = address
    return {
        "DMLC_ROLE": role, "DMLC_PS_ROOT_URI": host, "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NUM_WORKER": str(num_workers), "DMLC_NUM_SERVER": str(num_servers),
        "MLP_MX_RANK": str(number),
    }


def _command(role, command, python):
    """What a process runs; ``python`` in a worker's command is the given one."""
    if role != "worker":
        return [python, *SERVE]
    return [python if command[0] in ("python", "python3") else command[0], *command[1:]]


def own_address(host):
    """The IP address of this machine that `host` reaches it at; sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, 9))
            return sock.getsockname()[0]
    except OSError as error:
        raise InputError(f"there is no way from {socket.gethostname()} to {host}: "
                         f"{error.strerror or error}") from error


@contextlib.contextmanager
def _kept_port(host, port=0):
    """Keep a port of `host`, any if it is 0, from other programs: the address.

    Its socket does not listen, and so does not keep it from the scheduler, which sets SO_REUSEADDR.
    """
    with socket.socket() as placeholder:
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            placeholder.bind((host, port))
        except OSError as error:
            raise InputError(f"the scheduler cannot listen at {host}:{port} of "
                             f"{socket.gethostname()}: {error.strerror}") from error
        yield placeholder.getsockname()


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
        If a process has failed. All have been ended then, as they are at Ctrl-C or SIGTERM.
    """
    threads = max(1, (os.cpu_count() or 1) // 2 // num_workers)  # MXNet's default, shared out
    shared = {"OMP_NUM_THREADS": str(threads), **os.environ, "DMLC_NODE_HOST": LOOPBACK}
    with _kept_port(LOOPBACK) as address:
        run([
            Part(f"{role} {number}", _command(role, command, sys.executable),
                 {**shared, **_variables(role, number, num_workers, num_servers, address)})
            for role, number in _roles(num_workers, num_servers)
        ])


def ssh_job(command, num_workers, num_servers, hosts, address=None, python=sys.executable):
    """Run a job on other machines, with its scheduler on this one.

    Parameters
    ----------
    command : list of str
        Run in a folder of the same name as this one's.
    num_workers, num_servers : int
    hosts : list of str
        As ssh takes them. Worker i runs on host i, and so does server i, starting over as needed.
    address : (str, int), optional
        IP address and port, 0 for any, of this machine for the scheduler; by default where the
        first host reaches it.
    python : str
        The hosts' Python.

    Raises
    ------
    InputError, JobError
        As `local_job` does.
    """
    with _kept_port(*address or (own_address(_host_name(hosts[0])), 0)) as address:
        parts = []
        for role, number in _roles(num_workers, num_servers):
            variables = _variables(role, number, num_workers, num_servers, address)
            if role == "scheduler":
                environment = {**os.environ, **variables, "DMLC_NODE_HOST": address[0]}
                parts.append(Part(role, [sys.executable, *SERVE], environment))
            else:
                host = hosts[number % len(hosts)]
                line = _remote_line(_command(role, command, python), python,
                                    {**variables, "MLP_MX_HOST": host})
                parts.append(
                    Part(f"{role} {number} on {host}", [*SSH, "--", host, line], remote=True)
                )
        run(parts)


def _host_name(host):
    """Where an alias of ~/.ssh/config leads."""
    printed = subprocess.run(["ssh", "-G", "--", host], capture_output=True, text=True)
    if printed.returncode:
        raise InputError(f"ssh does not take {host!r} for a host: {printed.stderr.strip()}")
    return dict(line.split(" ", 1) for line in printed.stdout.splitlines() if " " in line)[
        "hostname"]


def _remote_line(command, python, variables):
    """The line for a host's shell to run a command in this folder, for as long as we live."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables = [f"{name}={value}" for name, value in {**passed_on, **variables}.items()]
    words = ["env", *variables, python, "-m", "mlp_mx.launch.remote", *command]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}"


def become(rank, command, num_workers, num_servers, address):
    """Turn this process, one of those that mpirun or srun started, into its part of the job.

    Parameters
    ----------
    rank : int
        0 is the scheduler; then come the servers, and then the workers.
    command : list of str
        What workers run.
    num_workers, num_servers : int
    address : (str, int)
        IP address and port for the scheduler to listen at.

    Raises
    ------
    InputError
        If the command cannot be run, or the scheduler not listen there.
    """
    role, number = _roles(num_workers, num_servers)[rank]
    if role == "scheduler":
        with _kept_port(*address):  # or say why not
            pass
    os.environ.update(
        _variables(role, number, num_workers, num_servers, address),
        DMLC_NODE_HOST=own_address(address[0]), MLP_MX_HOST=socket.gethostname(),
    )
    command = _command(role, command, sys.executable)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error

"""Which process of a job does what: one table, by rank, however the processes are started."""

import ipaddress
import os
import re
import socket
from typing import NamedTuple

from .._support.errors import InputError

# Variables that hold a process's rank and the number of processes: Open MPI's, MPICH's, Slurm's.
STARTERS = {
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "PMI_RANK": "PMI_SIZE",
    "SLURM_PROCID": "SLURM_STEP_NUM_TASKS",
}


class Job(NamedTuple):
    """How many processes there are, what the workers run, and where the scheduler listens."""

    command: list
    num_servers: int
    num_workers: int
    address: tuple

    @property
    def roles(self):
        """The table: for each rank a role, and a number in that role."""
        counts = {"scheduler": 1, "server": self.num_servers, "worker": self.num_workers}
        return [(role, number) for role, count in counts.items() for number in range(count)]

    def variables(self, rank):
        """The environment variables that tell MXNet, and a worker's command, about a rank."""
        role, number = self.roles[rank]
        host, port = self.address
        return {
            "DMLC_ROLE": role, "MLP_MX_RANK": str(number),
            "DMLC_PS_ROOT_URI": host, "DMLC_PS_ROOT_PORT": str(port),
            "DMLC_NUM_SERVER": str(self.num_servers), "DMLC_NUM_WORKER": str(self.num_workers),
        }


def place(num_servers, num_workers=None):
    """This process's rank and the number of workers, from what mpirun or srun has set.

    Parameters
    ----------
    num_servers : int
    num_workers : int, optional
        Under mpirun or srun, by default all processes but the scheduler and the servers.

    Returns
    -------
    rank : int or None
        None: the whole job runs here.
    num_workers : int

    Raises
    ------
    InputError
        If the variables contradict each other or the arguments, or if the number of workers is
        unknown.
    """
    # A script that sbatch runs has a rank and no size, a shell of srun --pty is 0 of 1.
    found = [(rank, size) for rank, size in STARTERS.items() if os.environ.get(size, "1") != "1"]
    if not found:
        if not num_workers:
            raise InputError("--num-workers N is required, unless mpirun or srun starts all "
                             "processes: a scheduler, the servers and the workers")
        return None, num_workers
    rank, size = (os.environ.get(name, "") for name in found[0])
    if not (all(re.fullmatch(r"\d{1,9}", number, re.ASCII) for number in (rank, size))
            and int(rank) < int(size)):
        names = " ".join(found[0])
        raise InputError(f"{names}: expected a rank of at least 0 and more processes than that, "
                         f"found {rank!r} and {size!r}; use mpirun or srun, or run: unset {names}")
    others = int(size) - 1 - num_servers
    if not 1 <= others <= 1000 or num_workers not in (None, others):
        raise InputError(f"expected 1 process for the scheduler, {num_servers} for servers and "
                         f"{num_workers or '1 to 1000'} for workers, found {size} in all; change "
                         "-n of mpirun or srun")
    return int(rank), others


def address(text):
    """An IPv4 address of one machine, and a port, from a text such as ``192.168.0.1:9100``."""
    host, port = text.split(":")
    ip, number = ipaddress.IPv4Address(host), int(port)
    if ip.is_unspecified or not 0 < number < 2**16:
        raise ValueError
    return str(ip), number


def step_address(rank):
    """Where rank 0 of this step of Slurm listens: its first host, at a port of the step's own."""
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")  # such as h2, or h[2-3,7]
    try:
        # mpirun in an allocation of Slurm's has ranks, and perhaps hosts, of its own.
        if int(os.environ["SLURM_PROCID"]) != rank:
            raise ValueError
        ip = socket.gethostbyname(re.sub(r"\[(\w+)[^]]*\]", r"\1", nodes).split(",")[0])
        if ip.startswith("127.") and os.environ["SLURM_STEP_NUM_NODES"] != "1":
            raise ValueError
        job, step = (int(os.environ[f"SLURM_{name}_ID"]) for name in ("JOB", "STEP"))
        return address(f"{ip}:{20000 + (100 * job + step) % 10000}")
    except (KeyError, OSError, ValueError):
        given = f"; SLURM_STEP_NODELIST={nodes!r} names none" if nodes else ""
        raise InputError("--address IP:PORT is required: the IP address of rank 0's machine and a "
                         f"free port on it{given}") from None

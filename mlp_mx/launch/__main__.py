"""``python -m mlp_mx.launch``: run a command as a job of several processes."""

import argparse
import ipaddress
import os
import re
import socket
import subprocess
import sys

from . import SSH_RANK, Job, become, own_address, refused, run
from .. import InputError
from .._support import cli
from .._support.files import open_regular
from ..runtime.diagnosis import check_environment

# Variables that say which of how many processes one is: ours, Open MPI's, MPICH's and Slurm's.
STARTERS = {
    SSH_RANK: "", "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "PMI_RANK": "PMI_SIZE",
    "SLURM_PROCID": "SLURM_STEP_NUM_TASKS", "PMIX_RANK": "",
}


def _address(text):
    try:
        host, port = text.split(":")
        return str(ipaddress.IPv4Address(host)), cli.integer(1, 2**16 - 1)(port)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected an address such as 192.168.0.1:9100, found {text!r}") from None


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.launch",
        description="Run a command in several worker processes, with servers and a scheduler: on "
        "this machine, on others over ssh, or in the processes that mpirun or srun has started. "
        "The processes have no authentication: use a private network.",
    )
    add = parser.add_argument
    add("-n", "--num-workers", type=cli.integer(1, 1000), metavar="N",
        help="processes that run the command (default with mpirun or srun: all remaining ones)")
    add("-s", "--num-servers", type=cli.integer(1, 1000), default=1, metavar="N",
        help="processes that sum gradients")
    add("--hosts", type=cli.path, metavar="FILE", help="machines to use over ssh, one per line")
    add("--python", type=cli.path, metavar="PATH",
        help="Python on the hosts (default: the path of this one)")
    add("--address", type=_address, metavar="IP:PORT", help="address that the scheduler listens "
        "on: this machine's with --hosts, the first process's with mpirun or srun")
    add("command", nargs="+", metavar="COMMAND", help="command to run, after --")
    return parser


@cli.command
def main(argv=None):
    """Run a job, or this process's part of it, as the command line says."""
    args = _parser().parse_args(argv)
    check_environment()
    rank, size = _place()
    if args.hosts and rank is not None:
        raise InputError("--hosts cannot be used with mpirun or srun, which choose the machines")
    if args.python and not args.hosts:
        raise InputError("--python requires --hosts")
    if not args.num_workers and not size:
        raise InputError("--num-workers N is required unless mpirun or srun starts the processes")
    num_workers = args.num_workers or size - 1 - args.num_servers
    if num_workers < 1 or size not in (0, 1 + args.num_servers + num_workers):
        raise InputError(f"expected 1 process for the scheduler, {args.num_servers} for servers "
                         f"and {args.num_workers or '1 or more'} for workers, found {size} in all")
    job = Job(args.command, num_workers, args.num_servers, args.address)
    if rank is not None:
        become(job._replace(address=args.address or _slurm_address()), rank)
    hosts = _hosts(args.hosts) if args.hosts else []
    address = args.address or (_address_for(hosts[0]) if hosts else "127.0.0.1", 0)
    run(job._replace(address=address), hosts, args.python or sys.executable)


def _place():
    """This process's rank and their number, 0 if unknown, if mpirun, srun or ssh has started it."""
    for rank, size in STARTERS.items():
        # In a script that sbatch runs, Slurm sets the rank alone.
        if rank in os.environ and (not size or size in os.environ):
            return int(os.environ[rank]), int(os.environ.get(size, 0))
    return None, 0


def _slurm_address():
    """The first host of a step of Slurm, and a port that the numbers of job and step give."""
    nodes = os.environ.get("SLURM_STEP_NODELIST", "localhost")  # or such as h[2-3]
    with refused("expected --address IP:PORT, where the first process is to listen"):
        ip = socket.gethostbyname("".join(re.match(r"([^[,]+)\[?(\w*)", nodes).groups()))
        if ip.startswith("127.") and os.environ.get("SLURM_STEP_NUM_NODES") != "1":
            raise OSError(f"other machines cannot reach {ip}")
    job, step = (int(os.environ[f"SLURM_{name}_ID"]) for name in ("JOB", "STEP"))
    return ip, 20000 + (100 * job + step) % 10000


def _address_for(host):
    """Where a host, which may be an alias of ~/.ssh/config, reaches this machine."""
    config = subprocess.run(["ssh", "-G", "--", host], capture_output=True, text=True).stdout
    found = re.search("^hostname (.*)$", config, re.MULTILINE)
    return own_address(found.group(1) if found else host)


def _hosts(path):
    """The lines of a file of hosts, without comments."""
    with refused(f"--hosts {path} cannot be read"), open_regular(path) as lines:
        hosts = [line for line in (line.decode().split("#")[0].strip() for line in lines) if line]
    wrong = [host for host in hosts if host.startswith("-") or len(host.split()) > 1]
    if wrong or not hosts:
        found = f"the line {wrong[0]!r}" if wrong else "none"
        raise InputError(f"--hosts {path}: expected one host per line, found {found}; correct the "
                         "file")
    return hosts


if __name__ == "__main__":
    sys.exit(main())

"""``python -m mlp_mx.launch``: run a command as a job of several processes."""

import argparse
import ipaddress
import os
import re
import socket
import sys

from . import become, local_job, ssh_job
from .. import InputError
from .._support import cli
from .._support.files import open_regular

# Variables that say which of how many processes one is: Open MPI's, MPICH's and Slurm's.
STARTERS = {
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "PMI_RANK": "PMI_SIZE",
    "SLURM_PROCID": "SLURM_STEP_NUM_TASKS", "PMIX_RANK": None,
}


def _address(text):
    host, colon, port = text.partition(":")
    try:
        if colon and int(port) not in range(1, 2**16):
            raise ValueError
        return str(ipaddress.IPv4Address(host)), int(port or 0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected an address such as 192.168.0.1:9100, found {text!r}"
        ) from None


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.launch",
        description="Run a command as the workers of a job, with servers and a scheduler: on this "
        "machine, on others by ssh, or in the processes that mpirun or srun has started. These "
        "have no authentication: use a private network.",
    )
    add = parser.add_argument
    add("-n", "--num-workers", type=cli.integer(1, 1000), metavar="N",
        help="processes that run the command; by mpirun or srun, all that are left")
    add("-s", "--num-servers", type=cli.integer(1, 1000), default=1, metavar="N",
        help="processes that sum gradients")
    add("--hosts", type=cli.path, metavar="FILE", help="machines to use by ssh, one per line")
    add("--python", type=cli.path, metavar="PATH",
        help="Python on the hosts (default: the path of this one)")
    add("--address", type=_address, metavar="IP[:PORT]", help="where the scheduler listens: this "
        "machine with --hosts, the first process's with mpirun or srun")
    add("command", nargs="+", metavar="COMMAND", help="after --: what to run")
    return parser


@cli.command
def main(argv=None):
    """Run a job as the command line says."""
    args = _parser().parse_args(argv)
    if args.python and not args.hosts:
        raise InputError("--python is for --hosts")
    started = _rank()
    if started:
        if args.hosts:
            raise InputError("--hosts is not for mpirun or srun, which choose the machines")
        rank, num_workers = _part(args, *started)
        become(rank, args.command, num_workers, args.num_servers, args.address or _slurm_address())
    if args.num_workers is None:
        raise InputError("how many workers? give --num-workers")
    if args.hosts:
        ssh_job(args.command, args.num_workers, args.num_servers, _hosts(args.hosts), args.address,
                args.python or sys.executable)
    elif args.address:
        raise InputError("--address is for --hosts, mpirun and srun; one machine needs none")
    else:
        local_job(args.command, args.num_workers, args.num_servers)


def _rank():
    """This process's number, and how many there are, if mpirun, srun or the like started it."""
    for rank, size in STARTERS.items():
        # In a script that sbatch runs, Slurm sets the rank alone.
        if rank in os.environ and (size is None or size in os.environ):
            return int(os.environ[rank]), size and int(os.environ[size])
    return None


def _part(args, rank, size):
    """The rank, and the number of workers."""
    num_workers = size - 1 - args.num_servers if size else args.num_workers
    if num_workers is None:
        raise InputError("how many workers? give --num-workers")
    if num_workers < 1 or args.num_workers not in (None, num_workers):
        raise InputError(
            f"expected processes for 1 scheduler, {args.num_servers} servers and "
            f"{args.num_workers or 'some'} workers, found {size}; start as many as that"
        )
    return rank, num_workers


def _slurm_address():
    """The first host of a Slurm job, and a port that the job's number gives."""
    step = os.environ.get("SLURM_STEP_NODELIST")
    if not step:
        raise InputError("expected --address IP:PORT, where the first process is to listen")
    prefix, number = re.match(r"([^\[,]+)(?:\[(\w+))?", step).groups()
    host = prefix + (number or "")
    try:
        ip = socket.gethostbyname(host)
    except OSError as error:
        raise InputError(f"the host {host} has no address: {error.strerror}; "
                         "give --address IP:PORT") from error
    if ip.startswith("127.") and os.environ.get("SLURM_STEP_NUM_NODES") != "1":
        raise InputError(f"{host} knows itself as {ip} only; give --address IP:PORT")
    return ip, 20000 + (100 * int(os.environ["SLURM_JOB_ID"]) +
                        int(os.environ.get("SLURM_STEP_ID", 0))) % 10000


def _hosts(path):
    """The lines of a file of hosts, without comments."""
    try:
        with open_regular(path) as lines:
            lines = [line.decode().split("#")[0].strip() for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"--hosts {path} cannot be read: "
                         f"{getattr(error, 'strerror', None) or error}") from error
    hosts = [line for line in lines if line]
    wrong = [host for host in hosts if host.startswith("-") or len(host.split()) > 1]
    if wrong or not hosts:
        raise InputError(f"--hosts {path}: expected one host per line, found "
                         f"{repr(wrong[0]) if wrong else 'none'}")
    return hosts


if __name__ == "__main__":
    sys.exit(main())

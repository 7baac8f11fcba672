"""``python -m mlp_mx.launch``: run a command as a job of several processes."""

import argparse
import sys

from . import Job, roles, run
from .._support import cli, signals
from ..runtime import environment


def _address(text):
    try:
        return roles.address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected an address and a port, such as 192.168.0.1:9100, found {text!r}") from None


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.launch",
        description="Run a command in several worker processes, with servers and a scheduler: all "
        "on this machine or, on several, as the processes that mpirun or srun has started. They do "
        "not authenticate each other: use a private network.",
    )
    add = parser.add_argument
    add("-n", "--num-workers", type=cli.number(1, 1000, int), metavar="N",
        help="processes that run the command (default with mpirun or srun: all remaining ones)")
    add("-s", "--num-servers", type=cli.number(1, 1000, int), default=1, metavar="N",
        help="processes that sum gradients")
    add("--address", type=_address, metavar="IP:PORT", help="where the scheduler listens "
        "(default: 127.0.0.1, any port; with srun: the first node of the step)")
    add("command", nargs="+", metavar="COMMAND", help="command to run, after --")
    return parser


@cli.command
def main(argv=None):
    """Run a job, or this process's part of it, as the command line says."""
    args = _parser().parse_args(argv)
    environment.check()
    rank, num_workers = roles.place(args.num_servers, args.num_workers)
    if rank is None:
        address = args.address or ("127.0.0.1", 0)
    else:
        address = args.address or roles.step_address(rank)
    try:
        run(Job(args.command, args.num_servers, num_workers, address), rank)
    except signals.Stopped as stop:
        if rank is None:
            raise
        sys.exit(128 + stop.signum)  # mpirun or srun says so, once for all ranks


if __name__ == "__main__":
    sys.exit(main())

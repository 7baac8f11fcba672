"""``python -m mlp_mx.launch``: run a command as a job of several processes."""

import argparse
import ipaddress
import re
import sys

from . import CLUSTERS, cluster_job, local_job
from .. import InputError
from .._support import cli
from .._support.files import open_regular


def _ip_address(text):
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected an address such as 192.168.0.1, found {text!r}"
        ) from None


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.launch",
        description="Run a command as the workers, the servers and the scheduler of a job, on this "
        "machine by default. They have no authentication: use a network of your own.",
    )
    add = parser.add_argument
    add("-n", "--num-workers", type=cli.integer(1, 1000), required=True, metavar="N",
        help="processes that train")
    add("-s", "--num-servers", type=cli.integer(1, 1000), default=1, metavar="N",
        help="processes that sum up what the workers tell")
    add("--hosts", type=cli.path, metavar="FILE", help="machines to use, by ssh, one in each line, "
        "host or host:port; with --cluster mpi, mpirun's host file")
    add("--cluster", choices=[name for name in CLUSTERS if name != "ssh"],
        help="let a cluster choose the machines")
    add("--address", type=_ip_address, metavar="IP", help="where other machines reach this one, "
        "with --hosts or --cluster; by default where its name leads")
    add("command", nargs="+", metavar="COMMAND",
        help="after --: what to run, for all processes alike")
    return parser


@cli.command
def main(argv=None):
    """Run a job as the command line says."""
    args = _parser().parse_args(argv)
    cluster = args.cluster or args.hosts and "ssh"
    if args.hosts and cluster not in ("ssh", "mpi"):
        raise InputError(f"--hosts is for ssh and for --cluster mpi; {cluster} chooses for itself")
    if args.address and not cluster:
        raise InputError("--address is for --hosts and --cluster; one machine needs none")
    if args.hosts:
        _check_hosts(args.hosts)
    if cluster:
        cluster_job(args.command, args.num_workers, args.num_servers, cluster, args.hosts,
                    args.address)
    else:
        local_job(args.command, args.num_workers, args.num_servers)


def _check_hosts(path):
    """Raise an `InputError` unless the file names hosts, and nothing that a shell would heed."""
    try:
        with open_regular(path) as lines:  # it is read twice
            hosts = [line.decode().strip() for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"--hosts {path} cannot be read: "
                         f"{getattr(error, 'strerror', None) or error}") from error
    wrong = [host for host in hosts if not re.fullmatch(r"\w[\w.@:-]*( +slots=\d+)?", host)]
    if wrong or not hosts:
        raise InputError(f"--hosts {path}: expected a host in each line, found "
                         f"{repr(wrong[0]) if wrong else 'none'}")


if __name__ == "__main__":
    sys.exit(main())

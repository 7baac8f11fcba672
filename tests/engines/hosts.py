"""Hosts for tests: network namespaces on one machine, joined by a switch, with Slurm.

Needs root on a Debian to spare, and its packages ``openmpi-bin slurmctld slurmd slurm-client munge
iproute2``. Nothing that runs here reaches another network.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import time

HOSTS = {name: f"10.77.0.{number}" for number, name in enumerate(("h1", "h2", "h3"), 1)}
SWITCH = "mlp-switch"

SLURM = """\
ClusterName=mlp
SlurmctldHost=h1({h1})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=h2 NodeAddr={h2} CPUs=8
NodeName=h3 NodeAddr={h3} CPUs=8
PartitionName=all Nodes=h2,h3 Default=YES
"""
# What ssh does for mpirun: runs a line on a host.
RSH = """\
#!/bin/sh
host=$1
shift
exec ip netns exec "mlp-$host" unshare --uts sh -c 'hostname "$0"; exec sh -c "$1"' "$host" "$*"
"""
# Slurm does not use cgroups here, but looks for them, and `ip netns exec` hides them.
CGROUP = "CgroupPlugin=cgroup/v1\n"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def on(host, *command):
    """The command line that runs a command on a host."""
    return ["ip", "netns", "exec", f"mlp-{host}", "unshare", "--uts", "sh", "-c",
            f'hostname {host}; exec "$@"', "sh", *map(str, command)]


def plug(host, plugged=True):
    """Plug a host's cable into the switch, or pull it out without telling either end."""
    ip("-n", SWITCH, "link", "set", host, *(["master", "bridge"] if plugged else ["nomaster"]))


def all_processes(host):
    """Return the numbers of the processes on a host."""
    listed = subprocess.run(["ip", "netns", "pids", f"mlp-{host}"], stdout=subprocess.PIPE)
    return [*map(int, listed.stdout.split())]


def processes():
    """Return a dict from process number to role, for the jobs' processes on the hosts."""
    found = {}
    for host in HOSTS:
        for number in all_processes(host):
            with contextlib.suppress(OSError):
                command = pathlib.Path(f"/proc/{number}/cmdline").read_text(errors="replace")
                variables = pathlib.Path(f"/proc/{number}/environ").read_text(errors="replace")
                role = [line[10:] for line in variables.split("\0")
                        if line.startswith("DMLC_ROLE=")]
                if "python" in command.split("\0")[0] and "mlp_mx" in command:
                    leads = "mlp_mx.launch" in command or not role
                    found[number] = "launcher" if leads else role[0]
    return found


@contextlib.contextmanager
def network():
    """Set up the hosts, and remove them afterwards."""
    try:
        ip("netns", "add", SWITCH)
        ip("-n", SWITCH, "link", "add", "bridge", "up", "type", "bridge")
        for host, address in HOSTS.items():
            _connect(host, address)
        yield
    finally:
        for host in HOSTS:
            for number in all_processes(host):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        for name in (SWITCH, *(f"mlp-{host}" for host in HOSTS)):
            subprocess.run(["ip", "netns", "delete", name])
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


def _connect(host, address):
    name = f"mlp-{host}"
    etc = pathlib.Path("/etc/netns", name)
    etc.mkdir(parents=True)
    names = "".join(f"{address} {host}\n" for host, address in HOSTS.items())
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    ip("-n", name, "link", "add", "cable", "type", "veth", "peer", host, "netns", SWITCH)
    ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
    ip("-n", name, "link", "set", "cable", "up")
    ip("-n", SWITCH, "link", "set", host, "up")
    plug(host)


@contextlib.contextmanager
def daemons(folder):
    """Run a Slurm whose nodes are h2 and h3; tell mpirun how to start its daemon on a host."""
    folder = pathlib.Path(folder)
    for name in ("state", "spool-h2", "spool-h3", "munge"):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    for name, text in {"slurm": SLURM, "cgroup": CGROUP}.items():
        (folder / f"{name}.conf").write_text(text.format(folder=folder, **HOSTS))
    agent = folder / "rsh"
    agent.write_text(RSH)
    agent.chmod(0o755)
    os.environ.update(SLURM_CONF=str(folder / "slurm.conf"), OMPI_MCA_plm_rsh_agent=str(agent))
    commands = [
        ["munged", "-F", "--force", "--key-file", key, "--socket", folder / "munge" / "socket",
         "--pid-file", folder / "munge" / "pid", "--log-file", folder / "munge" / "log",
         "--seed-file", folder / "munge" / "seed"],
        on("h1", "slurmctld", "-D"),
        *(on(host, "slurmd", "-D", "-N", host) for host in ("h2", "h3")),
    ]
    running = []
    try:
        with open(folder / "daemons.log", "wb") as log:
            for command in commands:
                running.append(subprocess.Popen(command, stdout=log, stderr=log))
                time.sleep(0.5)
        yield
    finally:
        for process in running:
            process.kill()  # since slurmd may wait for what was unplugged
            process.wait()

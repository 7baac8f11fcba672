"""Jobs of several processes on this machine: what they compute, and how they end."""

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

import small_run
from mlp_mx import checkpoint, launch
from mlp_mx.launch import __main__ as launch_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

LAUNCH = [sys.executable, "-m", "mlp_mx.launch"]
TRAIN = [*small_run.COMMAND, "--learning-rate", "0.005"]
# Sums up the ranks, on a server: the smallest job that uses every process.
SUM_UP = (
    'from mlp_mx.train.distributed import join; from mlp_mx.runtime import mx; '
    'workers = join([mx.cpu()]); total = workers.total(10 + workers.rank); '
    'workers.rank or print(total)'
)
# Runs a line here as sshd does: without the launcher's variables, and in another folder. It takes a
# second to end at SIGTERM, as real ones may.
STUB_SSH = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
if sys.argv[1] == "-G":
    sys.exit(print("user root", "hostname 127.0.0.1", sep=chr(10)))
options, (dashes, host, line) = sys.argv[1:-3], sys.argv[-3:]
assert dashes == "--" and "BatchMode=yes" in options
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(255)))
mark = {{name: os.environ[name] for name in ("MLP_MX_TEST_JOB", "HOME") if name in os.environ}}
remote = subprocess.Popen(["sh", "-c", line], env=mark, cwd="/", start_new_session=True)
code = remote.wait()
sys.exit(code if code >= 0 else 255)
"""
# Starts processes as `srun -K` does.
STUB_SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
kill, number, count, *command = sys.argv[1:]
assert (kill, number) == ("-K", "-n")
step = dict(SLURM_STEP_NUM_TASKS=count, SLURM_STEP_NODELIST="localhost", SLURM_STEP_NUM_NODES="1",
            SLURM_JOB_ID=str(os.getpid()), SLURM_STEP_ID="0")
tasks = [subprocess.Popen(command, env={{**os.environ, **step, "SLURM_PROCID": str(rank)}})
         for rank in range(int(count))]
def end(*_):
    for task in tasks:
        task.terminate()
    time.sleep(1)
    for task in tasks:
        task.kill()
    sys.exit(128 + 9)
signal.signal(signal.SIGTERM, end)
while any(task.poll() is None for task in tasks):
    if any(task.poll() for task in tasks):
        end()
    time.sleep(0.1)
"""
# Gives a process of srun the variables of mpirun's, which go before Slurm's.
AS_MPIRUN = ["sh", "-c", 'exec env OMPI_COMM_WORLD_RANK=$SLURM_PROCID SLURM_PROCID=0 '
             'OMPI_COMM_WORLD_SIZE=$SLURM_STEP_NUM_TASKS "$@"', "sh"]


class Jobs:
    """Starts jobs, by stubs of ssh and srun if need be, whose processes can be found."""

    def __init__(self, folder):
        for name, text in (("ssh", STUB_SSH), ("srun", STUB_SRUN)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self._hosts = folder / "hosts"
        self._hosts.write_text("# two\nfirst  # an alias\n\nuser@second\n")
        self._mark = f"MLP_MX_TEST_JOB={uuid.uuid4()}"
        self._path = f"{folder}:{os.environ['PATH']}"

    def popen(self, *command, **environment):
        return subprocess.Popen(
            ["env", f"PATH={self._path}", self._mark, *map(str, command)],
            env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def start(self, starter, num_workers, num_servers, *command):
        servers = ["-s", num_servers]
        srun = ["srun", "-K", "-n", 1 + num_servers + num_workers]
        return self.popen(*{
            "launch": [*LAUNCH, "-n", num_workers, *servers],
            "ssh": [*LAUNCH, "-n", num_workers, *servers, "--hosts", self._hosts],
            "srun": [*srun, *LAUNCH, *servers],
            "mpirun": [*srun, *AS_MPIRUN, *LAUNCH, *servers,
                       "--address", f"127.0.0.1:{free_port()}"],
        }[starter], "--", *command)

    def run(self, *arguments):
        """Run a job to its end: exit code, standard output and error."""
        job = self.start(*arguments)
        out, errors = job.communicate(timeout=100)
        return job.returncode, out, errors

    def processes(self):
        """From process number to role, for all that were started, and have not ended."""
        found = {}
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                environment = path.read_text(errors="replace").split("\0")
            except OSError:  # it has ended, or is somebody else's
                continue
            if self._mark in environment:
                roles = [line[10:] for line in environment if line.startswith("DMLC_ROLE=")]
                found[int(path.parent.name)] = roles[0] if roles else "launcher"
        return found


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def jobs(tmp_path):
    """`Jobs`, of which no process may be left."""
    jobs = Jobs(tmp_path)
    yield jobs
    # For hosts, and after a killed launcher.
    wait_for(lambda: not jobs.processes(), seconds=launch.GRACE + 2)
    left = jobs.processes()
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


@pytest.mark.parametrize("starter", [
    "launch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ssh", "srun", "mpirun"))])
def test_a_job_uses_all_its_processes(jobs, starter):
    assert jobs.run(starter, 2, 2, "python", "-c", SUM_UP) == (0, "[21.0]\n", "")


@pytest.mark.slow
def test_a_job_computes_what_one_process_does_and_goes_on_with_other_workers(jobs, tmp_path):
    path, whole = tmp_path / "model.npz", tmp_path / "whole.npz"
    printed = subprocess.run([*TRAIN, "--epochs", "2", "--save", whole], capture_output=True,
                             text=True, check=True).stdout.splitlines()
    epochs = []  # of 656 examples in batches of 64: the last has 16
    for num_workers, num_servers, options in [
        (3, 2, ["--epochs", 1, "--save", path]), (4, 1, ["--epochs", 2, "--resume", path])
    ]:
        code, out, errors = jobs.run("launch", num_workers, num_servers, *TRAIN, *options)
        assert (code, errors) == (0, "")
        first, epoch, _, last = out.splitlines()  # said once
        assert first == f"{printed[0]}, in each of {num_workers} workers"
        assert last == f"saved as {path}"
        epochs.append(epoch)
    # Losses are printed to five digits, and accuracies, of 500 test examples, to four.
    numbers, expected = (re.findall(r"\d+\.\d+|\d+", " ".join(lines)) for lines in (
        epochs, [line for line in printed if line.startswith("Epoch")]))
    np.testing.assert_allclose([*map(float, numbers)], [*map(float, expected)], atol=1.1e-3)
    params, expected = (
        np.concatenate([param.asnumpy().ravel() for param in checkpoint.load(file)[0]])
        for file in (path, whole)
    )
    assert np.linalg.norm(params - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("starter, role, signum, code, said", [
    ("launch", "worker", signal.SIGKILL, 137, r"error: worker \d was killed by SIGKILL"),
    ("launch", "server", signal.SIGKILL, 137, "error: server 0 was killed by SIGKILL"),
    ("launch", "scheduler", signal.SIGKILL, 137, "error: scheduler 0 was killed by SIGKILL"),
    ("launch", "launcher", signal.SIGTERM, 143, "terminated"),
    ("launch", "launcher", signal.SIGKILL, -9, None),
    ("ssh", "worker", signal.SIGKILL, 137, r"error: worker \d on \S+ was killed by SIGKILL"),
    ("ssh", "launcher", signal.SIGKILL, -9, None),
    ("srun", "server", signal.SIGKILL, 137, None),  # what is said is up to srun
    ("srun", "launcher", signal.SIGTERM, 137, None),
])
def test_a_job_ends_with_a_process_and_keeps_its_last_epoch(
    jobs, tmp_path, starter, role, signum, code, said
):
    path = tmp_path / "with 'a space.npz"
    job = jobs.start(starter, 2, 1, *TRAIN, "--epochs", 10**5, "--save", path)
    wait_for(path.exists, seconds=60)
    assert path.exists()
    if starter != "srun":
        # On 127.0.0.1 alone: scheduler, server, workers.
        assert listening(jobs.processes()) == [("tcp", "0100007F")] * 4
    by_role = {has: number for number, has in jobs.processes().items()}
    victim = {**by_role, "launcher": job.pid}[role]
    begin = time.monotonic()
    os.kill(victim, signum)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert job.returncode == code
    if said:
        assert re.fullmatch(said, errors.splitlines()[-1])
    if starter != "ssh" and code > 0:  # else the fixture waits for the others
        assert not jobs.processes()
    assert checkpoint.load(path)[1]["epoch"] >= 0


def listening(processes):
    """The protocols and addresses on which some processes listen."""
    sockets = {os.readlink(path) for number in processes
               for path in pathlib.Path(f"/proc/{number}/fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state in ("0A", "07") and f"socket:[{rest[5]}]" in sockets:
                found.append((table, local.split(":")[0]))
    return found


# Worker $1 fails; the other one waits.
ONE_FAILS = ('fails() { test $MLP_MX_RANK = $1 || { echo not me >&2; sleep 100; }; '
             'sleep 1; echo it is me >&2; exit 7; }; fails')


@pytest.mark.slow
@pytest.mark.parametrize("shell, code, said", [
    (f"{ONE_FAILS} 0", 7, "it is me\nerror: worker 0 ended with exit code 7\n"),
    (f"{ONE_FAILS} 1", 7, "not me\nit is me\nerror: worker 1 ended with exit code 7\n"),
    (f"exec {shlex.join(TRAIN)} --learning-rate 1e6", 1,
     r"(.*\n)*error: the loss is not finite in epoch 0, batch (.*\n)+"
     r"error: worker . ended with exit code 1\n"),
    (f'exec {shlex.join(TRAIN)} --seed "$MLP_MX_RANK"', 2,
     r"(.*\n)*error: the workers start differently(.*\n)+"
     r"error: worker . ended with exit code 2\n"),
])
def test_an_error_of_a_worker_is_said_once_and_ends_a_job(jobs, shell, code, said):
    found, _, errors = jobs.run("launch", 2, 1, "sh", "-c", shell)
    assert found == code and re.fullmatch(said, errors)


def test_a_missing_folder_ends_a_job_by_ssh(monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: "/no such folder")
    job = launch.Job(["true"], 1, 1, ("127.0.0.1", 9100))
    line = launch._line(job, 2, "host", "echo")
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert ended.returncode and not ended.stdout and "no such folder" in ended.stderr


def test_a_part_that_cannot_reach_the_scheduler_ends(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", {**os.environ, "PMIX_RANK": "2"})
    monkeypatch.setattr(launch, "START", 1)
    begin = time.monotonic()
    with pytest.raises(SystemExit) as exit:
        launch_command.main(["-n", "1", "--address", "127.0.0.1:9100", "--", "sleep", "100"])
    assert exit.value.code == 128 + signal.SIGTERM and time.monotonic() - begin > 1
    assert capsys.readouterr().err == "error: the scheduler cannot be reached\n"


@pytest.mark.slow
def test_a_part_that_does_not_end_at_a_signal_is_killed(jobs):
    # As a worker that waits in MXNet for others, where Python cannot handle a signal.
    shell = "trap '' TERM; echo started; while true; do sleep 0.1; done"
    task = jobs.popen(*LAUNCH, "-n", 1, "--address", "127.0.0.1:9100", "--", "sh", "-c", shell,
                      PMIX_RANK="2")
    assert task.stdout.readline() == "started\n"
    begin = time.monotonic()
    task.terminate()
    assert task.wait(timeout=60) == 128 + signal.SIGKILL
    assert launch.GRACE <= time.monotonic() - begin < 15

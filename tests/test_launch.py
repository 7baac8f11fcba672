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
from mlp_mx import InputError, checkpoint, launch
from mlp_mx.launch import __main__ as launch_command
from mlp_mx.launch import roles
from mlp_mx.train import __main__ as train_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

LAUNCH = [sys.executable, "-m", "mlp_mx.launch"]
OPTIONS = ["--learning-rate", "0.005"]
TRAIN = [*small_run.COMMAND, *OPTIONS]
# Sums up the ranks, on a server: the smallest job that uses every process. Old code, unedited.
SUM_UP = (
    'import mxnet as mx; kv = mx.kv.create("dist_sync"); '
    'total = mx.nd.array([10 + kv.rank]); kv.init("total", total); kv.push("total", total); '
    'kv.pull("total", out=total); total = total.asnumpy(); kv.rank or print(total)'
)
# As srun and mpirun, by its name: starts processes, and ends them all if one fails.
STUB = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
*options, number, count = sys.argv[1:sys.argv.index("-n") + 2]
command = sys.argv[sys.argv.index("-n") + 2:]
if sys.argv[0].endswith("srun"):
    assert options == ["-K"]
    step = dict(SLURM_STEP_NUM_TASKS=count, SLURM_STEP_NODELIST="localhost,no[1-2]",
                SLURM_STEP_NUM_NODES="1", SLURM_JOB_ID=str(os.getpid()),
                SLURM_STEP_ID=str(os.getpid() // 100 % 100))  # so that ports differ
    name = "SLURM_PROCID"
else:  # in a script that sbatch runs
    step = dict(OMPI_COMM_WORLD_SIZE=count, SLURM_PROCID="0")
    name = "OMPI_COMM_WORLD_RANK"
tasks = [subprocess.Popen(command, env={{**os.environ, **step, name: str(rank)}})
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

OF_THREE = {"OMPI_COMM_WORLD_SIZE": "3"}
# Of srun's, for a process on the second of two hosts.
STEP = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
        "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "3"}


class Jobs:
    """Starts jobs, by stubs of srun and mpirun if need be, whose processes can be found."""

    def __init__(self, folder):
        for name in ("srun", "mpirun"):
            (folder / name).write_text(STUB)
            (folder / name).chmod(0o755)
        self._mark = f"MLP_MX_TEST_JOB={uuid.uuid4()}"
        self._own = [self._mark, f"PATH={folder}:{os.environ['PATH']}", f"SAID={folder / 'said'}"]

    def popen(self, *command, **environment):
        return subprocess.Popen(
            ["env", *self._own, *map(str, command)],
            env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def start(self, starter, num_workers, num_servers, *command):
        servers = ["-s", num_servers]
        count = ["-n", 1 + num_servers + num_workers]
        return self.popen(*{
            "launch": [*LAUNCH, "-n", num_workers, *servers],
            "srun": ["srun", "-K", *count, *LAUNCH, *servers],
            "mpirun": ["mpirun", *count, *LAUNCH, *servers,
                       "--address", f"127.0.0.1:{free_port()}"],
        }[starter], "--", *command)

    def run(self, *arguments):
        """Run a job to its end: exit code, standard output and error."""
        job = self.start(*arguments)
        out, errors = job.communicate(timeout=100)
        return job.returncode, out, errors

    def processes(self):
        """Return a dict from process number to role, for all processes still running."""
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
    """`Jobs` that must leave no process behind."""
    jobs = Jobs(tmp_path)
    yield jobs
    # After a killed launcher.
    wait_for(lambda: not jobs.processes(), seconds=launch.GRACE + 2)
    left = jobs.processes()
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def test_roles_go_by_rank():
    job = launch.Job(["true"], 2, 3, ("127.0.0.1", 9100))
    assert job.roles == [("scheduler", 0), ("server", 0), ("server", 1),
                         ("worker", 0), ("worker", 1), ("worker", 2)]
    assert job.variables(4) == {
        "DMLC_ROLE": "worker", "MLP_MX_RANK": "1", "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": "9100", "DMLC_NUM_SERVER": "2", "DMLC_NUM_WORKER": "3"}


@pytest.mark.parametrize("environment, expected", [
    ({}, (None, 2)),
    ({"SLURM_PROCID": "0"}, (None, 2)),  # in a script that sbatch runs
    ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (None, 2)),  # in srun --pty
    (STEP, (2, 2)),
    ({**STEP, "PMI_RANK": "3", "PMI_SIZE": "4"}, (3, 2)),  # Intel's mpirun uses srun
    ({**OF_THREE, "OMPI_COMM_WORLD_RANK": "1", "SLURM_PROCID": "0"}, None),  # too few
])
def test_a_rank_comes_from_what_started_the_process(monkeypatch, environment, expected):
    monkeypatch.setattr(os, "environ", environment)
    if expected:
        assert roles.place(1, 2) == expected
    else:
        with pytest.raises(InputError, match="2 for workers, found 3 in all"):
            roles.place(1, 2)


@pytest.mark.parametrize("nodes, first", [
    ("h2", "h2"), ("h[2-3,7]", "h2"), ("h[02,05-07]", "h02"), ("a1,b2", "a1"),
    ("rack[1-2]n[3-4],h5", "rack1n3"), ("h[2-3]-ib", "h2-ib"),
])
def test_the_scheduler_of_a_step_listens_on_its_first_host(monkeypatch, nodes, first):
    monkeypatch.setattr(os, "environ", {**STEP, "SLURM_STEP_NODELIST": nodes})
    monkeypatch.setattr(socket, "gethostbyname", {first: "192.0.2.1"}.get)
    assert roles.step_address(2) == ("192.0.2.1", 20000 + 1703)


@pytest.mark.parametrize("rank, changes", [
    *((2, {"SLURM_STEP_NODELIST": nodes}) for nodes in ("", "-1", "[", ",", "x" * 300, "a..b")),
    (2, {"SLURM_STEP_NODELIST": "localhost"}),  # which the other host cannot reach
    (2, {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "x"}),
    (1, {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "localhost"}),  # mpirun's rank
])
def test_an_address_is_required_where_a_step_gives_none(monkeypatch, rank, changes):
    monkeypatch.setattr(os, "environ", {**STEP, **changes})
    with pytest.raises(InputError, match="--address IP:PORT is required"):
        roles.step_address(rank)


@pytest.mark.parametrize("starter, num_workers, num_servers, total", [
    ("launch", 1, 1, 10),
    pytest.param("srun", 2, 2, 21, marks=pytest.mark.slow),
    pytest.param("mpirun", 1, 1, 10, marks=pytest.mark.slow),
])
def test_a_job_uses_all_its_processes(jobs, starter, num_workers, num_servers, total):
    found = jobs.run(starter, num_workers, num_servers, "python", "-c", SUM_UP)
    assert found == (0, f"[{total}.]\n", "")


@pytest.mark.slow
def test_a_job_computes_what_one_process_does_and_goes_on_with_other_workers(
    jobs, tmp_path, few_glyphs, capsys
):
    path, whole = tmp_path / "model.npz", tmp_path / "whole.npz"
    assert train_command.main([*OPTIONS, "--dataset", "glyphs", "--num-hidden", "64",
                               "--epochs", "2", "--save", str(whole)]) == 0
    printed = capsys.readouterr().out.splitlines()
    epochs = []  # of 656 examples in batches of 64: the last has 16
    for num_workers, num_servers, options in [
        (3, 2, ["--epochs", 1, "--save", path]), (2, 1, ["--epochs", 2, "--resume", path])
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


def end(jobs, job, role, signum, code, said):
    """Send a signal to a process of a job: the job ends soon, wholly, and says why."""
    by_role = {has: number for number, has in jobs.processes().items()}
    victim = {**by_role, "launcher": job.pid}[role]
    begin = time.monotonic()
    os.kill(victim, signum)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert job.returncode == code
    if said:
        assert re.fullmatch(said, errors.splitlines()[-1])
    if code > 0:  # else the fixture waits for the others
        assert not jobs.processes()


@pytest.mark.slow
@pytest.mark.parametrize("role, signum, code, said", [
    ("server", signal.SIGKILL, 137, "error: server 0 was killed by SIGKILL"),
    ("launcher", signal.SIGTERM, 143, "terminated"),
])
def test_a_job_ends_with_a_process_and_keeps_its_last_epoch(
    jobs, tmp_path, role, signum, code, said
):
    path = tmp_path / "with 'a space.npz"
    job = jobs.start("launch", 2, 1, *TRAIN, "--epochs", 10**5, "--save", path)
    wait_for(path.exists, seconds=60)
    assert path.exists()
    # On 127.0.0.1 alone: scheduler, server, workers.
    assert listening(jobs.processes()) == [("tcp", "0100007F")] * 4
    end(jobs, job, role, signum, code, said)
    assert checkpoint.load(path)[1]["epoch"] >= 0


@pytest.mark.parametrize("starter, role, signum, code, said", [
    ("launch", "scheduler", signal.SIGKILL, 137, "error: scheduler 0 was killed by SIGKILL"),
    ("launch", "launcher", signal.SIGKILL, -9, None),
    pytest.param("srun", "server", signal.SIGKILL, 137,
                 r"error: server 0 on \S+ was killed by SIGKILL", marks=pytest.mark.slow),
    pytest.param("srun", "launcher", signal.SIGTERM, 137, None, marks=pytest.mark.slow),
])
def test_a_job_ends_with_a_process_whatever_its_workers_do(
    jobs, starter, role, signum, code, said
):
    # As workers that wait in MXNet, which srun does not wait for as long as a launcher does.
    ignored = "trap '' TERM; " if starter == "srun" else ""
    job = jobs.start(starter, 2, 1, "sh", "-c", f"echo started; {ignored}exec sleep 100")
    assert [job.stdout.readline() for _ in range(2)] == 2 * ["started\n"]
    wait_for(lambda: {"scheduler", "server"} <= {*jobs.processes().values()}, seconds=60)
    end(jobs, job, role, signum, code, said)


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


# Worker $1 fails after the other one has said that it does not, and waits.
ONE_FAILS = ('fails() { test $MLP_MX_RANK = $1 || { echo not me >&2; touch "$SAID"; sleep 100; }; '
             'until test -e "$SAID"; do sleep 0.1; done; echo it is me >&2; exit 7; }; fails')


@pytest.mark.parametrize("shell, code, said", [
    (f"{ONE_FAILS} 0", 7, "it is me\nerror: worker 0 ended with exit code 7\n"),
    (f"{ONE_FAILS.replace('exit 7', 'kill -KILL $$')} 1", 137,
     "not me\nit is me\nerror: worker 1 was killed by SIGKILL\n"),
    pytest.param(f'exec {shlex.join(TRAIN)} --seed "$MLP_MX_RANK"', 2,
                 r"(.*\n)*error: the workers disagree on settings or parameters(.*\n)+"
                 r"error: worker . ended with exit code 2\n", marks=pytest.mark.slow),
])
def test_an_error_of_a_worker_is_said_once_and_ends_a_job(jobs, shell, code, said):
    found, _, errors = jobs.run("launch", 2, 1, "sh", "-c", shell)
    assert found == code and re.fullmatch(said, errors)


@pytest.mark.parametrize("stderr", ["/dev/full", "&-"])
def test_a_job_ends_with_the_workers_exit_code_if_nothing_can_be_said(jobs, stderr):
    line = shlex.join([*LAUNCH, "-n", "2", "--", "sh", "-c", f"{ONE_FAILS} 1"])
    assert jobs.popen("sh", "-c", f"exec {line} 2>{stderr}").wait(timeout=60) == 7


def test_only_the_end_of_many_errors_is_kept(jobs):
    many = ONE_FAILS.replace("echo it", "yes | head -c 1000000 >&2; echo it")
    code, _, errors = jobs.run("launch", 2, 1, "sh", "-c", f"{many} 1")
    assert code == 7
    assert errors.endswith("y\nit is me\nerror: worker 1 ended with exit code 7\n")
    assert len(errors) < 100_000


def test_a_process_that_cannot_reach_the_scheduler_ends(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", {**os.environ, **OF_THREE, "OMPI_COMM_WORLD_RANK": "2"})
    monkeypatch.setattr(launch, "START", 0.3)
    begin = time.monotonic()
    address = f"127.0.0.1:{free_port()}"
    assert launch_command.main(["--address", address, "--", "sleep", "100"]) == 1
    assert 0.3 < time.monotonic() - begin < 15
    assert capsys.readouterr().err == f"error: the scheduler cannot be reached at {address}\n"


def test_a_process_that_does_not_end_at_a_signal_is_killed(jobs):
    # As a worker that waits in MXNet for others, where Python cannot handle a signal.
    shell = "trap '' TERM; echo started; while true; do sleep 0.1; done"
    program = ("import sys; from mlp_mx import launch; launch.GRACE = 0.5; "
               "from mlp_mx.launch.__main__ import main; sys.exit(main())")
    task = jobs.popen(sys.executable, "-c", program, "--address", f"127.0.0.1:{free_port()}",
                      "--", "sh", "-c", shell, OMPI_COMM_WORLD_RANK="2", **OF_THREE)
    assert task.stdout.readline() == "started\n"
    begin = time.monotonic()
    task.terminate()
    out, errors = task.communicate(timeout=60)
    assert (task.returncode, errors) == (128 + signal.SIGTERM, "")  # mpirun says the rest
    assert 0.5 <= time.monotonic() - begin < 15

"""Jobs of several processes on this machine: what they compute, and how they end."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from mlp_mx import checkpoint, launch
from mlp_mx.launch import __main__ as launch_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

SMALL_RUN = pathlib.Path(__file__).with_name("small_run.py")
TRAIN = [sys.executable, SMALL_RUN, "--learning-rate", 0.005]
# Sums up the ranks, on a server: the smallest job that uses every process.
SUM_UP = (
    'from mlp_mx.train.distributed import join; from mlp_mx.runtime import mx; '
    'workers = join([mx.cpu()]); total = workers.total(10 + workers.rank); '
    'workers.rank or print(total)'
)


class Jobs:
    """Starts jobs whose processes can be found, however they were started."""

    def __init__(self):
        self.variable = {"MLP_MX_TEST_JOB": str(uuid.uuid4())}

    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "mlp_mx.launch", *map(str, arguments)],
            env={**os.environ, **self.variable, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def run(self, *arguments, **environment):
        """Run a job to its end: exit code, standard output and error."""
        job = self.start(*arguments, **environment)
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
            if f"MLP_MX_TEST_JOB={self.variable['MLP_MX_TEST_JOB']}" in environment:
                roles = [line[10:] for line in environment if line.startswith("DMLC_ROLE=")]
                found[int(path.parent.name)] = roles[0] if roles else "launcher"
        return found


@pytest.fixture
def jobs():
    """`Jobs`, of which no process may be left."""
    jobs = Jobs()
    yield jobs
    deadline = time.monotonic() + launch.GRACE + 2  # for hosts, and after a killed launcher
    while jobs.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    left = jobs.processes()
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def training(num_workers, num_servers, *options):
    return ["-n", num_workers, "-s", num_servers, "--", *TRAIN, *options]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """What one process prints, and the parameters that it ends with: after 22 steps of SGD."""
    path = tmp_path_factory.mktemp("single") / "model.npz"
    command = [*map(str, TRAIN), "--epochs", "2", "--save", path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return printed.splitlines(), checkpoint.load(path)[0]


def assert_same_end(path, expected):
    params, expected = (
        np.concatenate([param.asnumpy().ravel() for param in params])
        for params in (checkpoint.load(path)[0], expected)
    )
    assert np.linalg.norm(params - expected) <= 1e-5 * np.linalg.norm(expected)


def numbers(lines):
    words = " ".join(line for line in lines if line.startswith("Epoch")).replace(",", "").split()
    return [float(word) for word in words if word[0].isdigit()]


@pytest.mark.slow
def test_a_job_computes_what_one_process_does(jobs, single, tmp_path):
    printed, expected = single
    path = tmp_path / "model.npz"  # 656 examples in batches of 64: the last has 16
    code, out, errors = jobs.run(*training(3, 2, "--epochs", 2, "--save", path))
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{printed[0]}, in each of 3 workers"
    assert lines[-1] == f"saved as {path}" and len(lines) == len(printed)  # said once
    # Losses are printed to five digits, and accuracies, of 500 test examples, to four.
    np.testing.assert_allclose(numbers(lines), numbers(printed), atol=1.1e-3)
    assert_same_end(path, expected)


@pytest.mark.slow
def test_a_job_goes_on_to_the_same_end_with_other_workers(jobs, single, tmp_path):
    path = tmp_path / "model.npz"
    for workers, options in [(2, ["--epochs", 1]), (4, ["--epochs", 2, "--resume", path])]:
        code, _, errors = jobs.run(*training(workers, 1, *options, "--save", path))
        assert (code, errors) == (0, "")
    assert_same_end(path, single[1])


@pytest.mark.slow
@pytest.mark.parametrize("role", ["worker", "server", "scheduler"])
def test_a_job_ends_with_a_process_that_dies(jobs, tmp_path, role):
    path = tmp_path / "model.npz"
    job = jobs.start(*training(2, 1, "--epochs", 10**5, "--save", path))
    wait_for(path.exists)
    victim = next(number for number, has in jobs.processes().items() if has == role)
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert job.returncode == 128 + signal.SIGKILL
    assert errors.splitlines()[-1].startswith(f"error: {role}")
    assert errors.splitlines()[-1].endswith("was killed by SIGKILL")
    assert not jobs.processes()
    assert checkpoint.load(path)[1]["epoch"] >= 0


@pytest.mark.slow
def test_a_signal_ends_a_job_and_keeps_its_last_epoch(jobs, tmp_path):
    path = tmp_path / "model.npz"
    job = jobs.start(*training(2, 1, "--epochs", 10**5, "--save", path))
    wait_for(lambda: job.stdout.readline().startswith("Epoch 1."))
    begin = time.monotonic()
    job.terminate()
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert job.returncode == 128 + signal.SIGTERM and errors.splitlines()[-1] == "terminated"
    assert checkpoint.load(path)[1]["epoch"] >= 0


@pytest.mark.slow
def test_only_loopback_is_listened_on_and_a_killed_launcher_leaves_nothing(jobs):
    job = jobs.start(*training(2, 2, "--epochs", 10**5))
    wait_for(lambda: job.stdout.readline().startswith("Epoch"))
    sockets = {os.readlink(path) for number in jobs.processes()
               for path in pathlib.Path(f"/proc/{number}/fd").iterdir()}
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state in ("0A", "07") and f"socket:[{rest[5]}]" in sockets:
                listening.append((table, local.split(":")[0]))
    assert listening == [("tcp", "0100007F")] * 5  # 127.0.0.1: scheduler, servers, workers
    job.kill()
    job.communicate(timeout=60)
    assert job.returncode == -signal.SIGKILL  # and the fixture looks for the others


def test_a_small_job(jobs):
    assert jobs.run("-n", 1, "--", sys.executable, "-c", SUM_UP) == (0, "[10.0]\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
def test_an_error_of_a_worker_is_said_once(jobs, worker):
    shell = (f'test $MLP_MX_RANK = {worker} || {{ echo not me >&2; sleep 100; }}; '
             'sleep 1; echo it is me >&2; exit 7')
    code, _, errors = jobs.run("-n", 2, "--", "sh", "-c", shell)
    said = f"it is me\nerror: worker {worker} ended with exit code 7\n"
    assert (code, errors) == (7, said if worker == 0 else f"not me\n{said}")


@pytest.mark.slow
def test_divergence_ends_a_job(jobs):
    code, _, errors = jobs.run(*training(2, 1, "--learning-rate", "1e6"))
    assert code == 1
    assert "error: the loss is not finite in epoch 0, batch" in errors
    assert re.fullmatch("error: worker . ended with exit code 1", errors.splitlines()[-1])


@pytest.mark.slow
def test_workers_that_start_differently_are_refused(jobs):
    shell = f'exec {sys.executable} {SMALL_RUN} --seed "$MLP_MX_RANK"'
    code, _, errors = jobs.run("-n", 2, "--", "sh", "-c", shell)
    assert code == 2
    assert "error: the workers start differently" in errors


@pytest.mark.parametrize("arguments, message", [
    (["-n", "0", "--", "true"], "expected a whole number from 1"),
    (["-n", "1"], "required: COMMAND"),
    (["-n", "1", "--", "no such program"], "no such program cannot be run"),
    (["-n", "1", "--hosts", "absent", "--", "true"], "absent cannot be read"),
    (["-n", "1", "--hosts", os.devnull, "--", "true"], "cannot be read: Not a regular file"),
    (["-n", "1", "--hosts", __file__, "--", "true"], "expected one host per line"),
    (["-n", "1", "--address", "127.0.0.1", "--", "true"], "such as 192.168.0.1:9100"),
    (["-n", "1", "--address", "192.0.2.1:9", "--", "true"], "cannot listen at 192.0.2.1:9 of "),
    (["-n", "1", "--hosts", "x", "--address", "host:80", "--", "true"], "such as 192.168.0.1:"),
    (["-n", "1", "--hosts", "x", "--address", "127.0.0.1:0", "--", "true"], "from 1 to 65535"),
    (["-n", "1", "--python", "python3", "--", "true"], "--python requires --hosts"),
    (["--", "true"], "--num-workers N is required"),
])
def test_bad_input_is_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("PATH", "")
    assert_one_line(capsys, arguments, message)


def assert_one_line(capsys, arguments, message):
    try:
        code = launch_command.main(arguments)
    except SystemExit as exit:  # argparse's way out
        code = exit.code
    printed, errors = capsys.readouterr()
    assert (code, printed, errors.count("\n")) == (2, "", 1) and message in errors


@pytest.mark.parametrize("size, arguments, message", [
    (2, [], "1 process for the scheduler, 1 for servers and 1 or more for workers, found 2"),
    (4, ["-s", "3"], "3 for servers"),
    (4, ["-n", "3"], "3 for workers, found 4"),
    (3, [], "expected --address IP:PORT"),
    (3, ["--hosts", "x"], "--hosts cannot be used with mpirun or srun"),
    (3, ["--address", "192.0.2.1:9"], "the scheduler cannot listen at 192.0.2.1:9 of "),
])
def test_bad_input_under_mpirun_is_one_line(monkeypatch, capsys, size, arguments, message):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", str(size))
    assert_one_line(capsys, [*arguments, "--", "true"], message)


# Runs a line here as sshd does: without the launcher's variables, and in another folder. It knows
# no options but those that are expected, and takes a second to end at SIGTERM, as real ones may.
STUB_SSH = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
if sys.argv[1] == "-G":
    sys.exit(print("user root", "hostname 127.0.0.1", sep=chr(10)))
options, (dashes, host, line) = sys.argv[1:-3], sys.argv[-3:]
known = "BatchMode ConnectTimeout ServerAliveCountMax ServerAliveInterval StrictHostKeyChecking"
assert dashes == "--" and set(options[::2]) == {{"-o"}}
assert sorted(option.split("=")[0] for option in options[1::2]) == known.split()
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


@pytest.fixture
def stubs(tmp_path):
    """A ``PATH`` with an ssh and an srun that stay on this machine, and arguments for ssh."""
    for name, text in (("ssh", STUB_SSH), ("srun", STUB_SRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    hosts = tmp_path / "hosts"
    hosts.write_text("# two\nfirst  # an alias\n\nuser@second\n")
    return ["--hosts", hosts], {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_a_job_by_ssh(jobs, stubs):
    arguments, environment = stubs
    command = ["-n", 2, "-s", 2, *arguments, "--", "python", "-c", SUM_UP]
    assert jobs.run(*command, **environment) == (0, "[21.0]\n", "")


@pytest.mark.slow
def test_a_job_by_ssh_ends_with_a_process_that_dies(jobs, stubs, tmp_path):
    arguments, environment = stubs
    path = tmp_path / "with 'a space.npz"
    job = jobs.start(*arguments, *training(2, 1, "--epochs", 10**5, "--save", path), **environment)
    wait_for(path.exists)
    os.kill(_one(jobs, "worker", "small_run"), signal.SIGKILL)
    begin = time.monotonic()
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - begin < 15 and job.returncode == 128 + signal.SIGKILL
    assert re.fullmatch(r"error: worker . on \S+ was killed by SIGKILL", errors.splitlines()[-1])


def _one(jobs, role, word):
    """A process of a role that runs something with this word in it, and not the launcher's part."""
    lines = {number: pathlib.Path(f"/proc/{number}/cmdline").read_text().split("\0")
             for number, has in jobs.processes().items() if has == role}
    return next(number for number, line in lines.items()
                if word in " ".join(line[1:3]) and line[1] != "-m")


@pytest.mark.slow
def test_a_killed_launcher_leaves_nothing_of_a_job_by_ssh(jobs, stubs):
    arguments, environment = stubs
    job = jobs.start(*arguments, *training(2, 1, "--epochs", 10**5), **environment)
    wait_for(lambda: job.stdout.readline().startswith("Epoch"))
    job.kill()
    job.communicate(timeout=60)  # and the fixture looks for the others


def test_a_missing_folder_ends_a_job_by_ssh(monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: "/no such folder")
    job = launch.Job(["true"], 1, 1, ("127.0.0.1", 9100))
    line = launch._line(job, 2, "host", "echo")
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert ended.returncode and not ended.stdout and "no such folder" in ended.stderr


def part(rank_name, *command, start=launch.START, **environment):
    """A process that runs worker 0 of a job, as one that ssh or srun has started."""
    arguments = ["-n", "1", "--address", "127.0.0.1:9100", "--", *command]
    code = ("from mlp_mx import launch; from mlp_mx.launch.__main__ import main; "
            f"launch.START = {start}; main({arguments})")
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environment, rank_name: "2"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("starter", [launch.SSH_RANK, "PMIX_RANK"])
def test_a_part_that_cannot_reach_the_scheduler_ends(starter):
    begin = time.monotonic()
    with part(starter, "sleep", "100", start=1) as host:
        assert host.wait(timeout=60) == 128 + signal.SIGTERM
    assert time.monotonic() - begin > 1


@pytest.mark.slow
def test_a_part_that_does_not_end_at_a_signal_is_killed(jobs):
    # As a worker that waits in MXNet for others, where Python cannot handle a signal.
    shell = "trap '' TERM; echo started; while true; do sleep 0.1; done"
    with part("PMIX_RANK", "sh", "-c", shell, **jobs.variable) as task:
        assert task.stdout.readline() == "started\n"
        begin = time.monotonic()
        task.terminate()
        assert task.wait(timeout=60) == 128 + signal.SIGKILL
        assert launch.GRACE <= time.monotonic() - begin < 15


def srun(*arguments, **environment):
    return subprocess.Popen(
        ["srun", "-K", "-n", *map(str, arguments)], env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["srun", "mpirun"])
def test_processes_of_srun_become_a_job(jobs, stubs, starter):
    arguments = [sys.executable, "-m", "mlp_mx.launch", "-s", 2]
    if starter == "mpirun":  # its variables go before Slurm's
        arguments = ["sh", "-c", 'exec env OMPI_COMM_WORLD_RANK=$SLURM_PROCID '
                     'OMPI_COMM_WORLD_SIZE=$SLURM_STEP_NUM_TASKS SLURM_PROCID=0 "$@"', "sh",
                     *arguments, "--address", f"127.0.0.1:{free_port()}"]
    job = srun(5, *arguments, "--", "python", "-c", SUM_UP, **stubs[1], **jobs.variable)
    out, errors = job.communicate(timeout=100)
    assert (job.returncode, sum(map(int, re.findall(r"\d+", out))), errors) == (0, 21, "")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["server", "srun"])
def test_a_job_by_srun_ends_with_a_process_that_dies(jobs, stubs, tmp_path, role):
    path = tmp_path / "model.npz"
    job = srun(4, sys.executable, "-m", "mlp_mx.launch", "--", *TRAIN, "--epochs", 10**5, "--save",
               path, **stubs[1], **jobs.variable)
    wait_for(path.exists)
    if role == "srun":
        job.terminate()
    else:
        os.kill(_one(jobs, role, ""), signal.SIGKILL)
    job.communicate(timeout=15)
    assert job.returncode == 128 + signal.SIGKILL and not jobs.processes()

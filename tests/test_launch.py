"""Jobs of several processes on this machine: what they compute, and how they end."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from mlp_mx import checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

SMALL_RUN = pathlib.Path(__file__).with_name("small_run.py")
# Sums up the ranks, on a server: the smallest job that uses every process.
SUM_UP = (
    'from mlp_mx.train.distributed import Workers; from mlp_mx.runtime import mx; '
    'workers = Workers("dist_sync", [mx.cpu()]); total = workers.total(10 + workers.rank); '
    'workers.rank or print(total)'
)


class Jobs:
    """Starts jobs whose processes can be found, however they were started."""

    def __init__(self):
        self.mark = f"MLP_MX_TEST_JOB={uuid.uuid4()}"

    def start(self, *arguments, **environment):
        name, value = self.mark.split("=")
        return subprocess.Popen(
            [sys.executable, "-m", "mlp_mx.launch", *map(str, arguments)],
            env={**os.environ, name: value, **environment},
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
            if self.mark in environment:
                roles = [line[10:] for line in environment if line.startswith("DMLC_ROLE=")]
                found[int(path.parent.name)] = roles[0] if roles else "launcher"
        return found


@pytest.fixture
def jobs():
    """`Jobs`, of which no process may be left."""
    jobs = Jobs()
    yield jobs
    deadline = time.monotonic() + 2  # for the kernel, after the launcher itself was killed
    while jobs.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    left = jobs.processes()
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def training(num_workers, num_servers, *options):
    return ["-n", num_workers, "-s", num_servers, "--", sys.executable, SMALL_RUN,
            "--kvstore", "dist_sync", "--learning-rate", 0.005, *options]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """What one process prints, and the parameters that it ends with."""
    path = tmp_path_factory.mktemp("single") / "model.npz"
    command = [sys.executable, SMALL_RUN, "--learning-rate", "0.005", "--epochs", "2",
               "--save", path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return printed.splitlines(), checkpoint.load(path)[0]


def assert_same_end(path, expected):
    params, _ = checkpoint.load(path)
    for param, value in zip(params, expected):
        param, value = param.asnumpy(), value.asnumpy()
        assert abs(param - value).max() <= 1e-5 * abs(value).max()


def numbers(lines):
    words = " ".join(line for line in lines if line.startswith("Epoch")).replace(",", "").split()
    return [float(word) for word in words if word[0].isdigit()]


@pytest.mark.parametrize("num_servers, num_workers", [(1, 2), (2, 3)])
def test_a_job_computes_what_one_process_does(jobs, single, tmp_path, num_servers, num_workers):
    printed, expected = single
    path = tmp_path / "model.npz"  # 2000 examples in batches of 64: the last has 16
    job = training(num_workers, num_servers, "--epochs", 2, "--save", path)
    code, out, errors = jobs.run(*job)
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{printed[0]} of each of {num_workers} workers"
    assert lines[-1] == f"saved as {path}" and len(lines) == len(printed)  # said once
    # Losses are printed to five digits, and accuracies, of 500 test examples, to four.
    np.testing.assert_allclose(numbers(lines), numbers(printed), atol=1.1e-3)
    assert_same_end(path, expected)


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
    assert checkpoint.load(path)[1]["position"]["epoch"] >= 1


def test_a_job_goes_on_to_the_same_end_with_other_workers(jobs, single, tmp_path):
    path = tmp_path / "model.npz"
    assert jobs.run(*training(1, 1, "--epochs", 1, "--save", path))[0] == 0
    job = training(3, 1, "--epochs", 2, "--resume", path, "--save", path)
    code, _, errors = jobs.run(*job)
    assert (code, errors) == (0, "")
    assert_same_end(path, single[1])


def test_a_signal_saves_the_batch_that_the_job_was_at(jobs, tmp_path):
    path = tmp_path / "model.npz"
    job = jobs.start(*training(2, 1, "--epochs", 10**5, "--save", path, "--save-every", 10**5))
    wait_for(lambda: job.stdout.readline().startswith("Epoch 1."))
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM
    assert f"worker 0: terminated; saved as {path}" in errors.splitlines()
    assert checkpoint.load(path)[1]["position"]["epoch"] >= 1


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


def test_ten_jobs_in_a_row(jobs):
    for _ in range(10):
        assert jobs.run("-n", 1, "--", sys.executable, "-c", SUM_UP) == (0, "[10]\n", "")


def test_an_error_of_all_workers_is_said_once(jobs):
    code, _, errors = jobs.run(*training(2, 1, "--learning-rate", "1e6"))
    assert code == 1
    assert errors.count("\n") == 1 and errors.startswith("error: worker ")
    assert "the loss is not finite in epoch 0, batch" in errors


def test_workers_that_start_differently_are_refused(jobs):
    shell = f'exec {sys.executable} {SMALL_RUN} --kvstore dist_sync --seed "$MLP_MX_RANK"'
    code, _, errors = jobs.run("-n", 2, "--", "sh", "-c", shell)
    assert code == 2
    assert "the workers do not start alike" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("arguments, message", [
    (["-n", "0", "--", "true"], "expected a whole number from 1"),
    (["-n", "1"], "required: COMMAND"),
    (["-n", "1", "--", "no such program"], "no such program cannot be run"),
    (["-n", "1", "--hosts", "absent", "--", "true"], "absent cannot be read"),
    (["-n", "1", "--hosts", os.devnull, "--", "true"], "cannot be read: Not a regular file"),
    (["-n", "1", "--hosts", __file__, "--", "true"], "expected a host in each line"),
    (["-n", "1", "--hosts", "x", "--cluster", "sge", "--", "true"], "sge chooses for itself"),
    (["-n", "1", "--address", "127.0.0.1", "--", "true"], "--address is for"),
    (["-n", "1", "--cluster", "slurm", "--", "true"], "needs srun, which is not installed"),
])
def test_bad_input_is_one_line(jobs, arguments, message):
    code, out, errors = jobs.run(*arguments, PATH="")
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert message in errors


FAKE_SSH = f"""#!{sys.executable}
# Runs the command here, without the launcher's environment, as sshd does: in a session of its own
# whose standard input ends with the connection.
import os, subprocess, sys
options, host, port, command = sys.argv[1:3], sys.argv[3], sys.argv[4:6], sys.argv[6]
mark = {{name: os.environ[name] for name in os.environ if name in ("MLP_MX_TEST_JOB", "HOME")}}
remote = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, env=mark,
                          start_new_session=True)
code = remote.wait()
sys.exit(code if code >= 0 else 255)
"""


@pytest.fixture
def by_ssh(tmp_path):
    """Arguments and environment of a job by an ssh that stays on this machine."""
    ssh = tmp_path / "ssh"
    ssh.write_text(FAKE_SSH)
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1\nlocalhost:2222\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return ["--hosts", hosts, "--address", "127.0.0.1"], environment


def test_a_job_by_ssh(jobs, by_ssh):
    arguments, environment = by_ssh
    command = ["-n", 2, "-s", 2, *arguments, "--", sys.executable, "-c", SUM_UP]
    assert jobs.run(*command, **environment) == (0, "[21]\n", "")


def test_a_job_by_ssh_ends_with_a_process_that_dies(jobs, by_ssh, tmp_path):
    arguments, environment = by_ssh
    path = tmp_path / "with a space.npz"
    job = jobs.start(*arguments, *training(2, 1, "--epochs", 10**5, "--save", path), **environment)
    wait_for(lambda: path.exists())
    victim = next(number for number, role in jobs.processes().items()
                  if role == "worker" and "small_run" in
                  pathlib.Path(f"/proc/{number}/cmdline").read_text())
    os.kill(victim, signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 255  # all that ssh says of a signal
    assert "worker on " in errors.splitlines()[-1]

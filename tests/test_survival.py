"""Interrupted training runs: resumed, they end as an uninterrupted run does."""

import os
import random
import signal
import subprocess
import time

import pytest

import small_run
from mlp_mx import checkpoint
from mlp_mx.train import record

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MLP_MX_KILLS", 1))
EPOCHS = 40


def start(folder, epochs=EPOCHS):
    """Start or resume a run that saves and logs each epoch in a folder."""
    model = folder / "model.npz"
    options = ["--epochs", str(epochs), "--log", folder / "log",
               "--resume" if model.exists() else "--save", model]
    return subprocess.Popen([*small_run.COMMAND, *options],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    """Wait for the run to end by itself; return what it printed about its epochs."""
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return [line for line in printed.splitlines() if line.startswith("Epoch")]


def result(folder):
    """The parameters, and what the log says about each epoch, except time and plan."""
    params, _ = checkpoint.load(folder / "model.npz")
    epochs = {line.pop("epoch"): line for line in record.read(folder / "log")
              if line.pop("seconds") and line.pop("epochs")}
    return [param.asnumpy().tobytes() for param in params], epochs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run prints, its result, and how long an epoch takes."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder)
    process.stdout.readline()
    begin = time.monotonic()
    printed = end(process)
    seconds = time.monotonic() - begin
    assert len(printed) == EPOCHS
    return printed, result(folder), seconds / EPOCHS


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_goes_on_to_the_same_end(tmp_path, whole, kill):
    printed, expected, seconds = whole
    chance = random.Random(kill)
    process = start(tmp_path, epochs=10**6)
    for _ in range(chance.randint(0, EPOCHS // 2)):
        process.stdout.readline()
    time.sleep(chance.uniform(0, 5 * seconds))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL  # it did not come to its own end before
    others = {path.name for path in tmp_path.iterdir()} - {"model.npz", "log"}
    assert all(name.startswith(".mlp_mx-") for name in others)
    assert set(end(start(tmp_path))) <= set(printed)
    assert result(tmp_path) == expected


@pytest.mark.parametrize("stop", range(KILLS))
@pytest.mark.parametrize("signum, word", [
    (signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"),
    (signal.SIGHUP, "terminal closed"),
])
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, whole, signum, word, stop):
    printed, expected, _ = whole
    chance = random.Random(stop)
    process = start(tmp_path, epochs=1000)
    for _ in range(chance.randint(2, 5)):
        process.stdout.readline()
    time.sleep(chance.uniform(0, 0.3))
    process.send_signal(signum)
    if signum == signal.SIGTERM:  # programs such as timeout send it twice
        process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    model = tmp_path / "model.npz"
    last = checkpoint.load(model)[1]["epoch"]
    assert (process.returncode, errors) == (128 + signum, (
        f"{word}; stopped in epoch {last + 1}, which was discarded; the model after epoch {last} "
        f"is saved as {model}\n"))
    assert end(start(tmp_path)) == printed[last + 1:]
    assert result(tmp_path) == expected

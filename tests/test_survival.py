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


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_run_killed_and_stopped_by_each_signal_goes_on_to_the_same_end(tmp_path, whole, seed):
    printed, expected, seconds = whole
    chance, model, done = random.Random(seed), tmp_path / "model.npz", 0
    signals = [(signal.SIGKILL, None), (signal.SIGINT, "interrupted"),
               (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminal closed")]
    for signum, word in chance.sample(signals, 4):
        process = start(tmp_path, epochs=1000)
        # What is trained on what, and epochs; a kill may come while nothing is done yet.
        for _ in range(chance.randint(2 if word else 0, 4)):
            process.stdout.readline()
        time.sleep(chance.uniform(0, 1.5 * seconds))
        process.send_signal(signum)
        if signum == signal.SIGTERM:  # programs such as timeout send it twice
            process.send_signal(signum)
        _, errors = process.communicate(timeout=30)
        done = checkpoint.load(model)[1]["epoch"] + 1 if word or model.exists() else 0
        said = (f"{word}; stopped in epoch {done}, which was discarded; the model after epoch "
                f"{done - 1} is saved as {model}\n")
        assert (process.returncode, errors) == (
            (128 + signum, said) if word else (-signal.SIGKILL, ""))
    assert end(start(tmp_path)) == printed[done:]
    others = {path.name for path in tmp_path.iterdir()} - {"model.npz", "log"}
    assert all(name.startswith(".mlp_mx-") for name in others)
    assert result(tmp_path) == expected

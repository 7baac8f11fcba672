"""``--save`` and ``--resume`` of ``python -m mlp_mx.train``."""

import functools
import os
import pathlib
import signal
import tempfile

import pytest

from mlp_mx import checkpoint, data
from mlp_mx._support import signals
from mlp_mx.train import __main__ as train_command
from mlp_mx.train import record

pytestmark = pytest.mark.usefixtures("few_glyphs")


def run(*arguments):
    return train_command.main([*map(str, arguments)])


@pytest.mark.parametrize("suffix", [".npz", ".params"])
def test_resumed_run_ends_where_the_whole_run_ends(tmp_path, capsys, suffix):
    whole, half = tmp_path / f"whole{suffix}", tmp_path / f"half{suffix}"
    plot, log = tmp_path / "curves.png", tmp_path / "log"
    options = ["--dataset", "glyphs", "--learning-rate", 0.005, "--batch-size", 32,
               "--num-hidden", 24, "--seed", 5, "--weight-scale", 0.05]
    assert run("--epochs", 4, "--save", whole, *options) == 0
    printed = capsys.readouterr().out.splitlines()
    assert run("--epochs", 2, "--save", half, *options) == 0
    capsys.readouterr()
    # What is not given, the saved run gives.
    assert run("--epochs", 4, "--resume", half, "--plot", plot, "--log", log) == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed[1:-1] == printed[3:-1]  # all but where it is saved, and the first two epochs
    assert resumed[-1] == f"saved as {half}"
    assert plot.read_bytes().startswith(b"\x89PNG")
    (params, saved), (expected, whole_saved) = checkpoint.load(half), checkpoint.load(whole)
    for a, b in zip(params, expected):
        assert (a == b).asnumpy().all()
    for settings in (saved, whole_saved):
        for epoch in (settings, *settings["history"]):
            assert epoch.pop("seconds") > 0
    assert saved == whole_saved
    assert [(line["epoch"], line["seed"]) for line in record.read(log)] == [(2, 5), (3, 5)]
    assert (saved["dataset"], saved["epoch"], saved["batch_size"]) == ("glyphs", 3, 32)
    assert f"{saved['test_accuracy']:.4f} (not MNIST" in printed[-2]


@functools.lru_cache(maxsize=None)
def two_epochs():
    """What a run of two epochs saves."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.npz")
        assert run("--dataset", "glyphs", "--num-hidden", 16, "--epochs", 2, "--save", path) == 0
        return path.read_bytes()


@pytest.fixture
def path(tmp_path, capsys):
    path = tmp_path / "model.npz"
    path.write_bytes(two_epochs())
    capsys.readouterr()
    return path


def assert_refused(path, capsys, complaint, *options):
    content = path.read_bytes()
    assert run("--resume", path, *options) == 2
    printed, errors = capsys.readouterr()
    assert errors.startswith("error: ") and errors.count("\n") == 1 and not printed
    assert complaint in errors
    assert path.read_bytes() == content


@pytest.mark.parametrize("option, value, complaint", [
    ("--epochs", 1, "has been trained for 2 epochs; ask for at least as many"),
    ("--batch-size", 32, "--batch-size is 32, but {path} was trained with 64"),
    ("--dataset", "mnist", "--dataset is mnist, but {path} was trained with glyphs"),
])
def test_resume_refuses_other_settings_by_name(path, capsys, option, value, complaint):
    assert_refused(path, capsys, complaint.format(path=path), option, value)


@pytest.mark.parametrize("key, value", [
    ("history", None), ("epoch", 1), ("epoch", 0.0), ("loss", float("nan")),
    ("test_accuracy", True), ("extra", 1), ("seed", -1), ("learning_rate", "fast"),
    ("batch_size", 0.5), ("num_hidden", 7), ("dataset", "cifar"), ("dataset", "auto"),
])
def test_resume_refuses_a_crafted_record_in_one_line(path, capsys, key, value):
    params, saved = checkpoint.load(path)
    is_setting = key in train_command.DEFAULTS or key == "history"
    (saved if is_setting else saved["history"][0])[key] = value
    checkpoint.save(path, params, **saved)
    assert_refused(path, capsys, "use another model")


def test_resume_of_a_whole_run_comes_to_the_same_end(path, tmp_path, capsys):
    other = tmp_path / "other.npz"
    assert run("--dataset", "glyphs", "--epochs", 2, "--resume", path, "--save", other) == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed[1] == "all 2 epochs are done; to continue, give a larger --epochs"
    assert resumed[3:] == [f"saved as {other}"]
    assert checkpoint.load(path)[1] == checkpoint.load(other)[1]


def test_a_run_stopped_before_its_first_batch_leaves_an_older_model(path, capsys, monkeypatch):
    def stop(*arguments):
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)

    content = path.read_bytes()
    monkeypatch.setattr(train_command.Recorder, "begin", stop)
    assert run("--dataset", "glyphs", "--save", path) == 143
    printed, errors = capsys.readouterr()
    assert printed.splitlines()[0] == f"{path} will be replaced after the first epoch"
    assert errors == "terminated; epoch 0 is lost; no model is saved\n"
    assert path.read_bytes() == content


def test_save_is_refused_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", None)  # is not called
    assert run("--dataset", "glyphs", "--save", tmp_path / "absent" / "model.npz") == 2
    assert capsys.readouterr().err.count("\n") == 1

"""``--save`` and ``--resume`` of ``python -m mlp_mx.train``."""

import os

import numpy as np
import pytest

from mlp_mx import checkpoint, data
from mlp_mx.train import __main__ as train_command
from mlp_mx.data import glyphs


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """A thousand glyphs in the place of the whole data set."""
    splits = glyphs.generate("train", 1000), glyphs.generate("test", 500)
    monkeypatch.setattr(glyphs, "load", lambda data_dir, progress: splits)
    assert data.load("glyphs")[0].num_examples == 1000


def run(*arguments):
    return train_command.main(
        ["--dataset", "glyphs", "--learning-rate", "0.005", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".npz", ".params"])
def test_resumed_run_ends_where_the_whole_run_ends(tmp_path, capsys, suffix):
    whole, half = tmp_path / f"whole{suffix}", tmp_path / f"half{suffix}"
    assert run("--epochs", 4, "--save", whole) == 0
    printed = capsys.readouterr().out.splitlines()
    assert run("--epochs", 2, "--save", half) == 0
    capsys.readouterr()
    assert run("--epochs", 4, "--resume", half, "--save", half) == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed[1:-1] == printed[3:-1]  # all but where it is saved, and the first two epochs
    (params, saved), (expected, whole_saved) = checkpoint.load(half), checkpoint.load(whole)
    for a, b in zip(params, expected):
        assert (a == b).asnumpy().all()
    for settings in (saved, whole_saved):
        assert settings.pop("seconds") > 0
    assert saved == whole_saved
    assert (saved["dataset"], saved["epoch"], saved["batch_size"]) == ("glyphs", 3, 64)
    assert f"{saved['test_accuracy']:.4f}" in printed[-2]


@pytest.mark.parametrize("options, complaint", [
    (["--epochs", 1], "its training is in epoch 2, and --epochs is 1"),
    (["--seed", 1], "seed was 0 and is 1"),
    (["--batch-size", 32, "--num-hidden", 10], "batch_size was 64 and is 32, num_hidden was 256"),
])
def test_resume_refuses_other_settings(tmp_path, capsys, options, complaint):
    path = tmp_path / "model.npz"
    assert run("--epochs", 2, "--save", path) == 0
    content = path.read_bytes()
    assert run("--resume", path, "--save", path, *options) == 2
    errors = capsys.readouterr().err
    assert complaint in errors and errors.count("\n") == 1
    assert path.read_bytes() == content


def test_resume_of_a_whole_run_comes_to_the_same_end(tmp_path, capsys):
    path, other = tmp_path / "model.npz", tmp_path / "other.npz"
    assert run("--epochs", 2, "--save", path) == 0
    printed = capsys.readouterr().out.splitlines()
    assert run("--epochs", 2, "--resume", path, "--save", other) == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed == [printed[0], printed[3], f"saved as {other}"]
    assert checkpoint.load(path)[1] == checkpoint.load(other)[1]


def test_resume_refuses_what_is_no_checkpoint(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", W1=np.zeros(3))
    for name in ("other.npz", "absent.npz", "model.h5"):
        assert run("--resume", tmp_path / name) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["absent/model.npz", "folder.npz", "model.txt", "pipe.params"])
def test_save_is_refused_before_training(tmp_path, capsys, monkeypatch, name):
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.params")
    monkeypatch.setattr(data, "load", None)  # is not called
    assert run("--save", tmp_path / name) == 2
    assert capsys.readouterr().err.count("\n") == 1

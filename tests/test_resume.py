"""``--save`` and ``--resume`` of ``python -m mlp_mx.train``."""

import os

import numpy as np
import pytest

from mlp_mx import checkpoint, data
from mlp_mx.train import __main__ as train_command

pytestmark = pytest.mark.usefixtures("few_glyphs")


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
        for record in (settings, *settings["history"]):
            assert record.pop("seconds") > 0
    assert saved == whole_saved
    assert (saved["dataset"], saved["epoch"], saved["batch_size"]) == ("glyphs", 3, 64)
    assert f"{saved['test_accuracy']:.4f}" in printed[-2]


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    """What a run of two epochs saves."""
    from small_run import SPLITS

    path = tmp_path_factory.mktemp("run") / "model.npz"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(data.glyphs, "load", lambda data_dir, progress: SPLITS)
        assert run("--epochs", 2, "--save", path) == 0
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, two_epochs):
    """A copy of it."""
    path = tmp_path / "model.npz"
    path.write_bytes(two_epochs)
    return path


@pytest.mark.parametrize("options, complaint", [
    (["--epochs", 1], "has been trained for 2 epochs; ask for at least as many"),
    (["--seed", 1], "--seed is 1, but {path} was trained with 0"),
    (["--batch-size", 32], "--batch-size is 32, but {path} was trained with 64"),
    (["--dataset", "mnist"], "--dataset is mnist, but {path} was trained with glyphs"),
])
def test_resume_refuses_other_settings_by_name(path, two_epochs, capsys, options, complaint):
    assert train_command.main(["--resume", str(path), *map(str, options)]) == 2
    errors = capsys.readouterr().err
    assert complaint.format(path=path) in errors and errors.count("\n") == 1
    assert path.read_bytes() == two_epochs


def test_resume_takes_what_is_not_given_from_the_saved_run(tmp_path, capsys):
    path, whole = tmp_path / "model.npz", tmp_path / "whole.npz"
    options = ["--batch-size", 32, "--num-hidden", 24, "--seed", 5, "--weight-scale", 0.05]
    assert run("--epochs", 3, "--save", whole, *options) == 0
    assert run("--epochs", 1, "--save", path, *options) == 0
    plot = tmp_path / "curves.svg"
    assert train_command.main(["--resume", str(path), "--epochs", "3", "--plot", str(plot)]) == 0
    (params, saved), (expected, whole_saved) = checkpoint.load(path), checkpoint.load(whole)
    assert all((a == b).asnumpy().all() for a, b in zip(params, expected))
    assert [record["loss"] for record in saved["history"]] == \
        [record["loss"] for record in whole_saved["history"]]
    assert saved["epochs"] == 3 and plot.exists()
    assert f"saved as {path}" in capsys.readouterr().out


CRAFTED = {
    "no history": {"history": None},
    "another epoch": {"epoch": 1}, "half an epoch": {"epoch": 1.5}, "a float": {"epoch": 0.0},
    "a word": {"epoch": "x"},
    "huge": {"epoch": 10**30}, "not finite": {"loss": float("nan")}, "a list": {"loss": [1]},
    "true": {"test_accuracy": True}, "more": {"extra": 1},
    "a seed": {"seed": -1}, "no rate": {"learning_rate": "fast"}, "an odd width": {"num_hidden": 7},
    "a data set": {"dataset": "cifar"}, "batches": {"batch_size": 0.5}, "epochs": {"epochs": 0},
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=CRAFTED)
def test_resume_refuses_a_crafted_record_in_one_line(path, capsys, change):
    params, saved = checkpoint.load(path)
    saved = {key: value for key, value in saved.items() if key not in ("mlp_mx", "mxnet")}
    for key, value in change.items():
        (saved if key in train_command.DEFAULTS or key == "history" else saved["history"][0])[
            key] = value
    checkpoint.save(path, params, **saved)
    content = path.read_bytes()
    assert train_command.main(["--resume", str(path)]) == 2
    printed, errors = capsys.readouterr()
    assert errors.startswith("error: ") and errors.count("\n") == 1 and not printed
    assert path.read_bytes() == content


def test_a_fresh_run_says_which_model_it_will_replace(tmp_path, capsys):
    path = tmp_path / "model.npz"
    path.write_bytes(b"another")
    assert run("--epochs", 1, "--save", path) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{path} will be replaced after the first epoch"


def test_resume_of_a_whole_run_comes_to_the_same_end(path, tmp_path, capsys):
    other = tmp_path / "other.npz"
    assert run("--epochs", 2, "--resume", path, "--save", other) == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed[1] == "all 2 epochs are done; to continue, give a larger --epochs"
    assert resumed[3:] == [f"saved as {other}"]
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

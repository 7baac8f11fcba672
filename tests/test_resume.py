"""``--save`` and ``--resume`` of ``python -m mlp_mx.train``."""

import os
import signal

import numpy as np
import pytest

from mlp_mx import checkpoint, data
from mlp_mx._support import signals
from mlp_mx.evaluate import __main__ as evaluate_command
from mlp_mx.train import __main__ as train_command
from mlp_mx.train import record

pytestmark = pytest.mark.usefixtures("few_glyphs")


@pytest.fixture
def run(capsys):
    """Run the command; return the lines that it printed, and its errors."""

    def run(*arguments, code=0):
        assert train_command.main([*map(str, arguments)]) == code
        printed, errors = capsys.readouterr()
        return printed.splitlines(), errors

    return run


@pytest.fixture
def path(tmp_path, run):
    """The model saved by a run of two epochs."""
    path = tmp_path / "model.npz"
    run("--dataset", "glyphs", "--num-hidden", 16, "--epochs", 2, "--save", path)
    return path


def test_resumed_run_ends_where_the_whole_run_ends(tmp_path, run):
    whole, half = tmp_path / "whole.npz", tmp_path / "half.npz"
    plot, log = tmp_path / "curves.png", tmp_path / "log"
    options = ["--dataset", "glyphs", "--learning-rate", 0.005, "--batch-size", 32,
               "--num-hidden", 24, "--seed", 5, "--weight-scale", 0.05]
    printed, _ = run("--epochs", 4, "--save", whole, *options)
    run("--epochs", 2, "--save", half, *options)
    # What is not given, the saved run gives.
    resumed, _ = run("--epochs", 4, "--resume", half, "--plot", plot, "--log", log)
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


def test_resume_refuses_other_settings_and_crafted_records_in_one_line(path, run):
    def assert_refused(complaint, *options):
        content = path.read_bytes()
        printed, errors = run("--resume", path, *options, code=2)
        assert errors.startswith("error: ") and errors.count("\n") == 1 and not printed
        assert complaint in errors
        assert path.read_bytes() == content

    assert_refused("has been trained for 2 epochs; ask for at least as many", "--epochs", 1)
    assert_refused(f"--batch-size is 32, but {path} was trained with 64", "--batch-size", 32)
    assert_refused(f"--dataset is mnist, but {path} was trained with glyphs", "--dataset", "mnist")
    params, saved = checkpoint.load(path)
    first, *others = saved["history"]
    for key, value in [
        ("history", None), ("seed", -1), ("learning_rate", "fast"), ("batch_size", 0.5),
        ("num_hidden", 7), ("num_hidden", True), ("epochs", 10**4000), ("epochs", 0),
        ("dataset", 7), ("dataset", ""), ("weight_scale", float("inf")),
    ]:
        checkpoint.save(path, params, **{**saved, key: value})
        assert_refused("use another model")
    for change in [
        {"epoch": 1}, {"epoch": 0.0}, {"loss": float("nan")}, {"loss": 10**4000},
        {"test_accuracy": True}, {"extra": 1},
    ]:
        history = [{**first, **change}, *others]
        checkpoint.save(path, params, **{**saved, "history": history})
        assert_refused("use another model")


def test_resume_of_a_whole_run_comes_to_the_same_end(path, tmp_path, run):
    other = tmp_path / "other.npz"
    resumed, _ = run("--dataset", "glyphs", "--epochs", 2, "--resume", path, "--save", other)
    assert resumed[1] == "all 2 epochs are done; to continue, give a larger --epochs"
    assert resumed[3:] == [f"saved as {other}"]
    assert checkpoint.load(path)[1] == checkpoint.load(other)[1]


def test_a_run_stopped_before_its_first_batch_leaves_an_older_model(path, run, monkeypatch):
    def stop(*arguments, recorder=record.Recorder, **options):
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        return recorder(*arguments, **options)

    content = path.read_bytes()
    monkeypatch.setattr(record, "Recorder", stop)
    printed, errors = run("--dataset", "glyphs", "--save", path, code=143)
    assert printed[0] == f"{path} will be replaced after the first epoch"
    assert errors == "terminated; stopped in epoch 0, which was discarded; no model is saved\n"
    assert path.read_bytes() == content


@pytest.fixture
def folders(monkeypatch):
    """Two folders of a user's data with classes of their own: letters and vowels."""
    names = {"letters": "ABCDEFGHIJKLM", "vowels": "AEIOU"}

    def load(dataset, data_dir, batch_size=64, seed=0, **options):
        assert dataset == "idx"
        classes, random = names[data_dir], np.random.RandomState(0)
        label = np.arange(130) % len(classes)
        images = random.randint(0, 255, (130, 8, 9)).astype("uint8")
        return [data.ArrayLoader(images, label, batch_size, seed, data_dir, classes)] * 2

    monkeypatch.setattr(data, "DATASETS", ("auto", "mnist", "glyphs", "idx"))
    monkeypatch.setattr(data, "load", load)


def test_a_run_on_a_users_own_data_is_resumed_and_evaluated_on_them(folders, tmp_path, run, capsys):
    path = tmp_path / "letters.npz"
    options = ["--data-dir", "letters", "--num-hidden", 16]
    printed, _ = run("--dataset", "idx", "--epochs", 2, "--save", path, "--log", tmp_path / "log",
                     *options)
    assert printed[0] == "letters: 130 training and 130 test examples, on cpu(0)"
    assert printed[-2].startswith("letters test accuracy after epoch 1: 0.")
    params, saved = checkpoint.load(path)
    assert (params[0].shape, params[-1].shape) == ((72, 16), (13,))
    assert [(one["dataset"], "classes" in one) for one in record.read(tmp_path / "log")] == (
        2 * [("letters", False)])
    assert (saved["dataset"], saved["classes"]) == ("letters", [*"ABCDEFGHIJKLM"])
    run("--resume", path, "--dataset", "idx", "--epochs", 3, "--data-dir", "letters")
    assert checkpoint.load(path)[1]["epoch"] == 2
    assert evaluate_command.main([str(path), "--data-dir", "letters"]) == 0
    assert "test accuracy:     0." in capsys.readouterr().out

    def assert_refused(complaint, *options):
        assert run("--resume", path, *options, code=2)[1].startswith(f"error: {complaint}")

    assert_refused("the model was trained on letters; name that folder with --data-dir")
    assert_refused("the model was trained on letters, found vowels; name the folder of letters "
                   "with --data-dir", "--data-dir", "vowels")
    assert_refused(f"--dataset is glyphs, but {path} was trained with letters",
                   "--dataset", "glyphs")
    assert evaluate_command.main([str(path), "--data-dir", "vowels", "--dataset", "idx"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {path}: expected a network with 72 inputs and 5 outputs for vowels, found 72 and")
    checkpoint.save(path, params, **{**saved, "dataset": "vowels"})
    assert_refused(f"--resume {path}: expected a network with 72 inputs and 5 outputs for vowels, "
                   "found 72 and 13; use another model",
                   "--data-dir", "vowels")


def test_a_resumed_run_that_diverges_keeps_the_last_whole_epoch(path, run):
    params, saved = checkpoint.load(path)
    checkpoint.save(path, params, **{**saved, "learning_rate": 1e6})
    _, errors = run("--resume", path, "--epochs", 5, code=1)
    assert errors.startswith("error: the loss is not finite in epoch 2: ")
    kept, after = checkpoint.load(path)
    assert after["history"] == saved["history"]
    assert all((a == b).asnumpy().all() for a, b in zip(params, kept))

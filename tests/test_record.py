"""The record of a run: its model, its log and its curves, and what cannot be written."""

import os
import resource
import signal
import warnings

import pytest

from mlp_mx import Error, InputError, checkpoint, model
from mlp_mx.train import record

SETTINGS = {"dataset": "glyphs", "seed": 0, "epochs": 3}
EPOCHS = [{"epoch": epoch, "loss": 1 / (epoch + 1), "train_accuracy": 0.5, "test_accuracy": 0.25}
          for epoch in range(3)]


def recorder(history=(), **paths):
    params = model.init_params(num_inputs=4, num_hidden=3, num_outputs=2, seed=0)
    return record.Recorder(params, SETTINGS, history, **paths)


def test_each_epoch_is_saved_and_logged_and_the_last_draws_curves(tmp_path):
    paths = {name: tmp_path / file for name, file in
             [("save", "model.npz"), ("log", "log"), ("plot", "curves.svg")]}
    run = recorder(**paths)
    assert not any(path.exists() for path in paths.values())
    for number, epoch in enumerate(EPOCHS, 1):
        run.write(epoch)
        params, metadata = checkpoint.load(paths["save"])
        assert metadata["history"] == EPOCHS[:number] and metadata["epoch"] == number - 1
        assert record.read(paths["log"]) == [{**SETTINGS, **one} for one in EPOCHS[:number]]
        assert paths["plot"].exists() == (number == 3)
    run.finish()


def test_a_model_that_cannot_be_saved_is_one_warning_and_an_error_at_the_end(tmp_path):
    path = tmp_path / "folder" / "model.npz"
    path.parent.mkdir()
    run = recorder(save=path)
    run.write(EPOCHS[0])
    os.rename(path.parent, tmp_path / "away")  # as a stick that is pulled out
    with pytest.warns(UserWarning, match="model.npz cannot be written: No such file") as warned:
        run.write(EPOCHS[1])
        run.write(EPOCHS[2])
    assert len(warned) == 1 and run.model.epoch == 0
    assert checkpoint.load(tmp_path / "away" / "model.npz")[1]["history"] == EPOCHS[:1]
    with pytest.raises(Error, match="model.npz cannot be written: No such file") as error:
        run.finish()
    assert error.value.exit_code == 1


def test_a_disk_that_is_full_for_an_epoch_costs_nothing(tmp_path):
    log, save = tmp_path / "log", tmp_path / "model.npz"
    run = recorder(log=log, save=save)
    run.write(EPOCHS[0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 10, limits[1]))
        with pytest.warns(UserWarning) as warned:
            run.write(EPOCHS[1])
        assert checkpoint.load(save)[1]["history"] == EPOCHS[:1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(str(one.message) for one in warned) == [
        f"{path} cannot be written: File too large" for path in (log, save)]
    with pytest.raises(Error, match="File too large; .*File too large"):
        run.finish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.write(EPOCHS[2])
        run.finish()
    assert [one["epoch"] for one in record.read(log)] == [0, 1, 2]
    assert checkpoint.load(save)[1]["history"] == EPOCHS


def test_an_epoch_that_a_kill_kept_from_being_saved_is_logged_twice(tmp_path, monkeypatch):
    paths = {"save": tmp_path / "model.npz", "log": tmp_path / "log"}
    run = recorder(**paths)
    run.write(EPOCHS[0])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            checkpoint, "save", lambda *args, **options: signal.raise_signal(signal.SIGINT))
        run.write(EPOCHS[1])
    history = checkpoint.load(paths["save"])[1]["history"]
    assert history == EPOCHS[:1]
    recorder(history, **paths).write(EPOCHS[1])
    assert [one["epoch"] for one in record.read(paths["log"])] == [0, 1, 1]


def test_the_last_of_two_runs_to_finish_an_epoch_wins(tmp_path):
    first, second = recorder(save=tmp_path / "model.npz"), recorder(save=tmp_path / "model.npz")
    for run, number in (first, 0), (second, 0), (first, 1), (second, 1), (first, 2):
        run.write(EPOCHS[number])
        assert checkpoint.load(tmp_path / "model.npz")[1]["history"] == EPOCHS[:number + 1]


def test_a_resumed_run_is_saved_again_and_its_epochs_are_not_logged_again(tmp_path):
    run = recorder(EPOCHS, save=tmp_path / "model.npz", log=tmp_path / "log",
                   plot=tmp_path / "curves.png")
    run.finish()
    assert checkpoint.load(tmp_path / "model.npz")[1]["history"] == EPOCHS
    assert (tmp_path / "curves.png").exists() and not (tmp_path / "log").exists()


def test_a_line_that_was_cut_is_skipped_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "log.jsonl"
    record.append(path, {"epoch": 0})
    record.append(path, {"epoch": 1})
    content = path.read_bytes()
    for end in range(len(content) + 1):
        path.write_bytes(content[:end])
        whole = [{"epoch": epoch} for epoch in range((end >= 12) + (end >= 25))]
        assert record.read(path) == whole
        record.append(path, {"epoch": 2})
        assert record.read(path) == [*whole, {"epoch": 2}]


@pytest.mark.parametrize("content", [b"[1]\n", b"[[[" * 100000, b"\x89PNG\r\n\0"])
def test_another_file_is_no_log_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a log of this package"):
        record.check(log=path)
    assert path.read_bytes() == content

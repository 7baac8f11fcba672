"""The record of a run: its log, and its model where the disk is full."""

import contextlib
import pathlib
import tempfile

import pytest

from mlp_mx import Error, InputError, checkpoint, model
from mlp_mx._support.files import WriteError
from mlp_mx.train import record

SETTINGS = {"dataset": "glyphs", "seed": 0}


def epochs(count):
    return [{"epoch": epoch, "loss": 1 / (epoch + 1), "train_accuracy": 0.5, "test_accuracy": 0.25}
            for epoch in range(count)]


@pytest.fixture
def params():
    return model.init_params(num_inputs=4, num_hidden=3, num_outputs=2, seed=0)


@pytest.fixture
def full(monkeypatch):
    """Folders whose disks are full."""
    folders, write = set(), checkpoint.whole_file

    @contextlib.contextmanager
    def whole_file(path):
        if pathlib.Path(path).parent in folders:
            raise WriteError(f"{path} cannot be written: No space left on device")
        with write(path) as file:
            yield file

    monkeypatch.setattr(checkpoint, "whole_file", whole_file)
    return folders


def recorder(params, *files, history=()):
    recorder = record.Recorder(*files)
    recorder.begin(params, SETTINGS, history)
    return recorder


def test_recorder_saves_logs_and_draws_every_epoch(tmp_path, params):
    files = [tmp_path / name for name in ("model.npz", "log.jsonl", "curves.png")]
    run = recorder(params, *files)
    for number, epoch in enumerate(epochs(3)):
        run.epoch(epoch)
        assert checkpoint.load(files[0])[1]["history"] == epochs(number + 1)
    run.finish()
    assert run.saved == files[0]
    metadata = checkpoint.load(files[0])[1]
    assert (metadata["seed"], metadata["epoch"], metadata["dataset"]) == (0, 2, "glyphs")
    assert record.read(files[1]) == [{**SETTINGS, **epoch} for epoch in epochs(3)]
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_recorder_keeps_the_epochs_of_the_run_that_it_goes_on_with(tmp_path, params):
    run = recorder(params, tmp_path / "model.npz", history=epochs(2))
    assert checkpoint.load(tmp_path / "model.npz")[1]["history"] == epochs(2)
    run.epoch(epochs(3)[-1])
    assert checkpoint.load(tmp_path / "model.npz")[1]["history"] == epochs(3)


def test_a_full_disk_moves_the_model_elsewhere_and_back(tmp_path, params, full, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "folder"
    folder.mkdir()
    run = recorder(params, folder / "model.npz")
    full.add(folder)
    for epoch in epochs(2):
        with pytest.warns(UserWarning, match="No space left on device; the model is saved as "):
            run.epoch(epoch)
        assert checkpoint.load(run.saved)[1]["epoch"] == epoch["epoch"]
    with pytest.raises(Error, match="No space left on device; the model is saved as ") as error:
        run.finish()
    assert error.value.exit_code == 1 and str(run.saved) in str(error.value)
    full.clear()
    run.epoch(epochs(3)[-1])
    run.finish()
    assert run.saved == folder / "model.npz"
    assert checkpoint.load(run.saved)[1]["epoch"] == 2


def test_a_model_that_cannot_be_saved_anywhere_is_said_to_be_lost(
    tmp_path, params, full, monkeypatch
):
    run = recorder(params, tmp_path / "model.npz")
    full.add(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.warns(UserWarning, match="the model is not saved"):
        run.epoch(epochs(1)[0])
    assert run.saved is None
    with pytest.raises(Error, match="the model is not saved"):
        run.finish()


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


@pytest.mark.parametrize("content", [b"text\n", b"[1]\n", b"[[[" * 100000, b"\x89PNG\r\n\0\0", b"3"])
def test_another_file_is_no_log_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a log of this package"):
        record.Recorder(log=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["folder", "absent/log.jsonl"])
def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be|Is a directory"):
        record.Recorder(log=tmp_path / name)


def test_a_log_on_a_full_disk_is_a_warning_and_an_error_at_the_end(params):
    run = recorder(params)
    run._log_path = "/dev/full"  # which is refused at the start
    with pytest.warns(UserWarning, match="/dev/full cannot be written: No space left"):
        run.epoch(epochs(1)[0])
    with pytest.raises(Error, match="No space left"):
        run.finish()

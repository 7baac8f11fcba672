"""The record of a run: its log, and its model where it cannot be saved."""

import tempfile

import pytest

from mlp_mx import Error, InputError, checkpoint, model
from mlp_mx.train import record

SETTINGS = {"dataset": "glyphs", "seed": 0}


def epochs(count):
    return [{"epoch": epoch, "loss": 1 / (epoch + 1), "train_accuracy": 0.5, "test_accuracy": 0.25}
            for epoch in range(count)]


def recorder(save=None):
    recorder = record.Recorder(save)
    recorder.begin(model.init_params(num_inputs=4, num_hidden=3, num_outputs=2, seed=0), SETTINGS)
    return recorder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that tests remove, as a stick that is pulled out; temporary files are elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_a_model_that_cannot_be_saved_goes_elsewhere_and_back(folder):
    run = recorder(folder / "model.npz")
    folder.rmdir()
    for epoch in epochs(2):
        with pytest.warns(UserWarning, match="No such file or directory; the model is saved as "):
            run.epoch(epoch)
        assert checkpoint.load(run.saved)[1]["epoch"] == epoch["epoch"]
    with pytest.raises(Error, match="No such file or directory; the model is saved as ") as error:
        run.finish()
    assert error.value.exit_code == 1 and str(run.saved) in str(error.value)
    folder.mkdir()
    run.epoch(epochs(3)[-1])
    run.finish()
    assert run.saved == folder / "model.npz"
    assert checkpoint.load(run.saved)[1]["epoch"] == 2


def test_a_model_that_cannot_be_saved_anywhere_is_said_to_be_lost(folder, monkeypatch):
    run = recorder(folder / "model.npz")
    folder.rmdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.warns(UserWarning, match="the model is not saved"):
        run.epoch(epochs(1)[0])
    assert run.saved is None
    with pytest.raises(Error, match="the model is not saved"):
        run.finish()


def test_a_log_on_a_full_disk_is_a_warning_and_an_error_at_the_end():
    run = recorder()
    run._log_path = "/dev/full"  # which is refused at the start
    with pytest.warns(UserWarning, match="/dev/full cannot be written: No space left"):
        run.epoch(epochs(1)[0])
    with pytest.raises(Error, match="No space left"):
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


@pytest.mark.parametrize("content", [b"[1]\n", b"[[[" * 100000, b"\x89PNG\r\n\0"])
def test_another_file_is_no_log_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a log of this package"):
        record.Recorder(log=path)
    assert path.read_bytes() == content

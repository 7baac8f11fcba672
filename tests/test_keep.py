"""What a run keeps where the disk is full."""

import contextlib
import pathlib
import re
import tempfile

import pytest

from mlp_mx import Error, checkpoint, model
from mlp_mx.train import keep, log
from mlp_mx._support.files import WriteError


@pytest.fixture
def params():
    return model.init_params(num_inputs=4, num_hidden=3, num_outputs=2, seed=0)


@pytest.fixture
def disk(monkeypatch):
    """Makes a folder's disk full: ``disk["full"] = folder``."""
    state = {"full": None}
    write = checkpoint.whole_file

    @contextlib.contextmanager
    def whole_file(path):
        if pathlib.Path(path).parent == state["full"]:
            raise WriteError(f"{path} cannot be written: No space left on device")
        with write(path) as file:
            yield file

    monkeypatch.setattr(checkpoint, "whole_file", whole_file)
    return state


def keeper(path, params, **options):
    keeper = keep.Keeper(path, **options)
    keeper.begin(params, {"seed": 0})
    return keeper


def test_keeper_saves_every_few_epochs_and_at_the_end(tmp_path, params):
    path = tmp_path / "model.npz"
    kept = keeper(path, params, every=3)
    for epoch in range(5):
        kept.epoch({"epoch": epoch}, {"epoch": epoch + 1})
        saved = checkpoint.load(path)[1]["epoch"] if path.exists() else None
        assert saved == (None, None, 2, 2, 2)[epoch]
    assert kept.finish({"epoch": 5}) == f"saved as {path}"
    _, metadata = checkpoint.load(path)
    assert (metadata["seed"], metadata["epoch"], metadata["position"]) == (0, 4, {"epoch": 5})


def test_keeper_goes_on_where_the_disk_is_full_and_saves_elsewhere(
    tmp_path, params, disk, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = keeper(folder / "model.npz", params)
    disk["full"] = folder
    with pytest.warns(UserWarning, match="after epoch 0, .* cannot be written: No space left"):
        kept.epoch({"epoch": 0}, {"epoch": 1})
    with pytest.raises(Error, match="No space left on device; the model is saved as ") as error:
        kept.finish({"epoch": 1})
    assert error.value.exit_code == 1
    spare = re.search("saved as (.*)", str(error.value))[1]
    assert checkpoint.load(spare)[1]["epoch"] == 0
    disk["full"] = None
    assert kept.finish({"epoch": 1}) == f"saved as {folder / 'model.npz'}"
    assert checkpoint.load(folder / "model.npz")[1]["epoch"] == 0


def test_keeper_logs_the_settings_with_each_epoch(tmp_path, params):
    kept = keeper(None, params, log_path=tmp_path / "log")
    kept.epoch({"epoch": 0, "loss": 1.5}, {"epoch": 1})
    assert kept.finish({"epoch": 1}) == ""
    assert log.read(tmp_path / "log") == [{"seed": 0, "epoch": 0, "loss": 1.5}]

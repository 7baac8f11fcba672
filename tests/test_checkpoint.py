"""Checkpoints: the way there and back, damage of every kind, and files that mean harm."""

import os
import zipfile

import numpy as np
import pytest

from damage import damaged
from mlp_mx import checkpoint, model
from mlp_mx.runtime import mx, nd

FORMATS = [".npz", ".params"]
DAMAGES = int(os.environ.get("MLP_MX_DAMAGES", 300))  # of each format


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    """A small checkpoint."""
    path = tmp_path / f"model{request.param}"
    params = model.init_params(num_inputs=6, num_hidden=5, num_outputs=3, seed=1)
    checkpoint.save(path, params, dataset="glyphs", epoch=3, learning_rate=0.001)
    return path


def equal(params, others):
    return len(params) == len(others) and all(
        a.shape == b.shape and (a.asnumpy() == b.asnumpy()).all() for a, b in zip(params, others)
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_was_saved_is_read_by_load_and_by_numpy_or_mxnet(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    params = model.init_params(seed=0, ctx=mx.cpu(1))
    accuracy = [np.float32(0.5), None]
    checkpoint.save(path, params, dataset="MNIST", seed=np.int64(0), accuracy=accuracy)
    loaded, metadata = checkpoint.load(path)
    assert equal(loaded, params)
    assert all(param.context == mx.cpu(0) and param.grad is not None for param in loaded)
    assert metadata["mxnet"] == "1.9.1"
    assert (metadata["dataset"], metadata["seed"]) == ("MNIST", 0)
    assert metadata["accuracy"] == [0.5, None]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    read = np.load(path) if suffix == ".npz" else nd.load(str(path))
    assert set(read) == {*checkpoint.names(6), "metadata"}
    assert equal([nd.array(read[name]) for name in checkpoint.names(6)], params)


def test_save_refuses_metadata_that_json_cannot_hold(path):
    content = path.read_bytes()
    with pytest.raises(checkpoint.CheckpointError, match="metadata .* type PosixPath"):
        checkpoint.save(path, model.init_params(num_hidden=2), source=path)
    assert path.read_bytes() == content


@pytest.mark.filterwarnings("ignore:.*no SHA-256")
def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    expected, settings = checkpoint.load(path)
    refused = 0
    for copy in damaged(content, DAMAGES, seed=7):
        path.write_bytes(copy)
        try:
            params, metadata = checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:  # the damage is where nothing is kept, such as a date in the archive
            assert equal(params, expected) and metadata == settings
    assert refused > 0.8 * DAMAGES


def write_npz(path, compression=zipfile.ZIP_STORED, **arrays):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array))


GOOD = {"W1": np.zeros((6, 5), "f4"), "b1": np.zeros(5, "f4"), "W2": np.zeros((5, 5), "f4"),
        "b2": np.zeros(5, "f4"), "W3": np.zeros((5, 3), "f4"), "b3": np.zeros(3, "f4"),
        "metadata": "{}"}
NOT_FINITE = np.full(5, np.nan, "f4")


@pytest.mark.parametrize("changes, complaint", [
    ({"W2": np.zeros((5, 4), "f4")}, "do not fit together"),
    ({"b3": np.zeros((), "f4")}, "do not fit together"),
    ({"b1": np.zeros(5)}, "b1 is float64, not float32"),
    ({"b2": NOT_FINITE}, "b2 has values that are not finite"),
    ({"extra": np.zeros(1)}, "expected .* found"),
    ({"metadata": "[]"}, "not a JSON object"),
    ({"metadata": "{"}, "Expecting property name"),
    ({"metadata": '{"num_arrays": 8}'}, "arrays are missing"),
    ({"b1": np.array(["pickled"], object)}, "Object arrays"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_load_refuses_what_is_no_network(tmp_path, changes, complaint):
    path = tmp_path / "model.npz"
    write_npz(path, **{**GOOD, **changes})
    with pytest.raises(checkpoint.CheckpointError, match=complaint):
        checkpoint.load(path)


def test_load_refuses_bombs_before_it_takes_memory(tmp_path):
    path = tmp_path / "model.npz"
    write_npz(path, zipfile.ZIP_DEFLATED, **{**GOOD, "W1": np.zeros((1000, 10000), "f4")})
    with pytest.raises(checkpoint.CheckpointError, match="compressed"):
        checkpoint.load(path)
    write_npz(path, **{name: array for name, array in GOOD.items() if name != "W1"})
    header = {"descr": "<f4", "fortran_order": False, "shape": (6, 10 ** 10)}
    with zipfile.ZipFile(path, "a") as archive, archive.open("W1.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)  # claims 240 GB, and has no data
    with pytest.raises(checkpoint.CheckpointError, match="Unable to allocate"):
        checkpoint.load(path)
    with open(path, "wb") as file:
        file.truncate(10 << 30)  # 10 GB of zeros, on no disk
    with pytest.raises(checkpoint.CheckpointError, match="at most"):
        checkpoint.load(path)


def save(path):
    checkpoint.save(path, model.init_params(num_hidden=2))


@pytest.mark.parametrize("access, name, complaint", [
    (checkpoint.load, "absent.npz", "No such file"), (save, "nowhere/model.npz", "No such file"),
    (checkpoint.load, "folder.npz", "Is a directory"), (save, "folder.npz", "Is a directory"),
    (checkpoint.load, "model.txt", "ends in .npz or"), (save, "model.txt", "ends in .npz or"),
])
def test_load_and_save_say_what_is_wrong_with_the_path(tmp_path, access, name, complaint):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(checkpoint.CheckpointError, match=complaint):
        access(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


def test_a_failed_save_leaves_the_old_file(path, monkeypatch):
    content = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(checkpoint.CheckpointError, match="No space left"):
        save(path)
    assert path.read_bytes() == content
    assert len(list(path.parent.iterdir())) == 1

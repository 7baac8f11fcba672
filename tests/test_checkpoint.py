"""Checkpoints: round trips, damage of every kind, and malicious files."""

import io
import os
import pathlib
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from damage import damaged
from mlp_mx import checkpoint, model
from mlp_mx.runtime import mx, nd

DAMAGES = int(os.environ.get("MLP_MX_DAMAGES", 300))


GOOD = {"W1": np.zeros((6, 5), "f4"), "b1": np.zeros(5, "f4"), "W2": np.zeros((5, 5), "f4"),
        "b2": np.zeros(5, "f4"), "W3": np.zeros((5, 3), "f4"), "b3": np.zeros(3, "f4"),
        "metadata": "{}"}
NOT_FINITE = np.full(5, np.nan, "f4")


@pytest.fixture
def path(tmp_path):
    """A small checkpoint."""
    path = tmp_path / "model.npz"
    params = model.init_params(num_inputs=6, num_hidden=5, num_outputs=3, seed=1)
    checkpoint.save(path, params, dataset="glyphs", epoch=3, learning_rate=0.001)
    return path


def equal(params, others):
    return len(params) == len(others) and all(
        a.shape == b.shape and (a.asnumpy() == b.asnumpy()).all() for a, b in zip(params, others)
    )


def test_what_was_saved_is_read_by_load_and_by_numpy(tmp_path):
    path = tmp_path / "model.npz"
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
    read = np.load(path)
    assert set(read) == {*checkpoint.names(6), "metadata"}
    assert equal([nd.array(read[name]) for name in checkpoint.names(6)], params)
    arrays = [param.asnumpy() for param in params]
    checkpoint.save(path, arrays)
    assert equal(checkpoint.load(path)[0], params)


CIRCLE, DEEP = [], []
CIRCLE.append(CIRCLE)
for _ in range(100000):
    DEEP = [DEEP]


@pytest.mark.parametrize("value, complaint", [
    (pathlib.Path("x"), "type PosixPath"), (CIRCLE, "Circular"), (DEEP, "recursion"),
    ({(1, 2): 3}, "keys must be"),
])
def test_save_refuses_metadata_that_json_cannot_hold(path, value, complaint):
    content = path.read_bytes()
    with pytest.raises(checkpoint.CheckpointError, match=f"metadata .*{complaint}"):
        checkpoint.save(path, model.init_params(num_hidden=2), source=value)
    assert path.read_bytes() == content


def test_save_refuses_what_load_would_not_read(path, monkeypatch):
    content = path.read_bytes()
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 4000)
    with pytest.raises(checkpoint.CheckpointError, match="at most 4000 bytes"):
        checkpoint.save(path, [np.zeros((2, 2), "f4"), np.zeros(2, "f4")], note="long" * 1000)
    assert path.read_bytes() == content


@pytest.mark.parametrize("changes, complaint", [
    ({0: np.zeros((6, 5))}, "expected float32; found W1 .6, 5. float64, b1"),
    ({0: np.zeros((5, 6), "f4")}, "do not fit together"),
    ({1: np.zeros((1, 5), "f4")}, r"expected .* biases \(outputs,\)"),
    ({3: np.full(5, np.inf, "f4")}, "b2 has values that are not finite"),
])
def test_save_refuses_what_is_no_network(path, changes, complaint):
    content = path.read_bytes()
    params = [GOOD[name] for name in checkpoint.names(6)]
    with pytest.raises(checkpoint.CheckpointError, match=complaint):
        checkpoint.save(path, [changes.get(place, param) for place, param in enumerate(params)])
    with pytest.raises(checkpoint.CheckpointError, match="5 arrays are not pairs"):
        checkpoint.save(path, params[:5])
    assert path.read_bytes() == content


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


@pytest.mark.parametrize("changes, complaint", [
    ({"W2": np.zeros((5, 4), "f4")}, "is not damaged, but .* do not fit together; found W1 .6, 5., "
     r"b1 .5,., W2 .5, 4., .*; to load it by hand: import numpy as np; "),
    ({"b3": np.zeros((), "f4")}, "not damaged, .* do not fit together"),
    ({"b1": np.zeros(5, "i4")}, "not damaged, .* b1 is int32, not float32"),
    ({"b2": NOT_FINITE}, "b2 has values that are not finite; training diverged"),
    ({"extra": np.zeros(1)}, "not damaged, .* 7 arrays are .* found .*, extra .1,. float64; "),
    ({"metadata": "[]"}, "is damaged: .* not a JSON object"),
    ({"metadata": "{"}, "is damaged: Expecting property name"),
    ({"metadata": '{"num_arrays": 8}'}, "is damaged: arrays are missing"),
    ({"b1": np.array(["pickled"], object)}, "not damaged, .* pickled objects"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_load_refuses_what_is_no_network(tmp_path, changes, complaint):
    path = tmp_path / "model.npz"
    write_npz(path, **{**GOOD, **changes})
    with pytest.raises(checkpoint.CheckpointError, match=complaint) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


def test_load_reads_compressed_files_as_large_as_their_directory_claims(tmp_path):
    path = tmp_path / "model.npz"
    random = np.random.RandomState(0)
    arrays = {name: random.normal(size=array.shape).astype("f4") if name != "metadata" else array
              for name, array in GOOD.items()}
    np.savez_compressed(path, **arrays)
    params, metadata = checkpoint.load(path)
    assert metadata == {}
    assert equal(params, [nd.array(arrays[name]) for name in checkpoint.names(6)])
    large = np.zeros((6, 1000000), "f4")
    np.savez_compressed(path, W1=large, b1=large[0])
    content, size = path.read_bytes(), large.nbytes + 128
    tracemalloc.start()
    for claimed in (128, size - 4, size + 4):
        lie = content.replace(size.to_bytes(4, "little"), claimed.to_bytes(4, "little"))
        assert lie != content
        path.write_bytes(lie)
        with pytest.raises(checkpoint.CheckpointError, match="is damaged: "):
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * claimed + 100000
    tracemalloc.stop()


def header_of(array, shape=None):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        "descr": "<f4", "fortran_order": False, "shape": shape or array.shape})
    return header.getvalue()


def archive_of(path, members):
    """Write an archive, whatever its members are."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize("name, complaint", [
    ("overlap", "members overlap"), ("twice", "same name"), ("many", "at most 1000 arrays"),
    ("claim", "not as large as it claims"), ("bomb", "at most 2147483648 bytes"),
    ("other", "does not write"), ("large", "too large: expected at most 2147483648 bytes"),
])
def test_load_refuses_bombs_from_their_directory(tmp_path, name, complaint):
    path = tmp_path / "bomb.npz"
    W = np.zeros((1000, 1000), "f4")
    whole = header_of(W) + W.tobytes()
    if name == "overlap":
        archive_of(path, [("W1.npy", whole)] + [(f"{n}.npy", b"") for n in range(9)])
        with zipfile.ZipFile(path, "a") as archive:
            first, *others = archive.infolist()
            for other in others:
                other.header_offset, other.CRC = first.header_offset, first.CRC
                other.file_size = other.compress_size = first.file_size
            archive._didModify = True  # write the directory anew
    elif name == "twice":
        archive_of(path, [("W1.npy", whole), ("b1.npy", b""), ("W1.npy", whole)])
    elif name == "many":
        archive_of(path, [(f"{n}.npy", b"") for n in range(1002)])
    elif name == "claim":
        archive_of(path, [("W1.npy", header_of(W, (6, 10 ** 10)) + b"data"), ("b1.npy", b"")])
    elif name == "bomb":
        archive_of(path, [("W1.npy", b""), ("b1.npy", b"")])
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            for member in archive.infolist():
                member.file_size, member.compress_type = 1200 << 20, zipfile.ZIP_DEFLATED
            archive._didModify = True
    elif name == "other":
        archive_of(path, [("W1.npy", whole), ("readme.txt", b"")])
    else:
        with open(path, "wb") as file:
            file.truncate(10 << 30)  # 10 GB of zeros, on no disk
    tracemalloc.start()
    with pytest.raises(checkpoint.CheckpointError, match=complaint):
        checkpoint.load(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_load_takes_twice_the_size_of_a_file(tmp_path):
    path = tmp_path / "model.npz"
    params = model.init_params(num_inputs=2000, num_hidden=1000)
    checkpoint.save(path, params)
    tracemalloc.start()  # which sees NumPy's arrays, and not MXNet's
    checkpoint.load(path)
    assert tracemalloc.get_traced_memory()[1] < 1.4 * path.stat().st_size
    tracemalloc.stop()


def save(path):
    checkpoint.save(path, model.init_params(num_hidden=2))


@pytest.mark.parametrize("access, name, complaint", [
    (checkpoint.load, "absent.npz", "No such file"), (save, "nowhere/model.npz", "No such file"),
    (checkpoint.load, "folder.npz", "Is a directory"), (save, "folder.npz", "Is a directory"),
    (checkpoint.load, "model.txt", "ends in .npz or"), (save, "model.txt", "ends in .npz, found"),
    (checkpoint.load, "a\0.npz", "null character"), (save, "a\0.npz", "null character"),
    (save, "model.params", r"saved as .npz, found .*nd\.save\(.*model.params', dict\(zip"),
    (checkpoint.check_path, "model.params", "models are saved as .npz"),
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

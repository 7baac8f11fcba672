"""A user's four IDX files: glyphs written as IDX, intact, mixed up and damaged."""

import gzip
import json
import os
import struct

import numpy as np
import pytest

from mlp_mx import InputError, checkpoint, data
from mlp_mx.evaluate import __main__ as evaluate_command
from mlp_mx.predict import __main__ as predict_command
from mlp_mx.train import __main__ as train_command
from oracle import forward
from small_run import SPLITS

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, kind=8):
    """An array as an IDX file, by the format's description."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) \
        + array.tobytes()


def write(folder, arrays, names=NAMES, suffix="", pack=bytes):
    folder.mkdir(exist_ok=True)
    for name, array in zip(names, arrays):
        (folder / (name + suffix)).write_bytes(pack(idx(array)))
    return folder


@pytest.fixture
def arrays():
    (train_images, train_labels), (test_images, test_labels) = SPLITS
    return [train_images, train_labels, test_images, test_labels]


@pytest.fixture
def folder(tmp_path, arrays):
    return write(tmp_path / "digits", arrays)


EMNIST = ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte",
          "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte")


@pytest.mark.parametrize("names, suffix, pack", [
    (NAMES, "", bytes), (NAMES, ".gz", gzip.compress), (EMNIST, ".gz", gzip.compress),
    ([name.replace("-idx", ".idx") for name in NAMES], "", bytes),
])
def test_idx_files_are_what_was_written(tmp_path, arrays, names, suffix, pack, monkeypatch):
    folder = write(tmp_path / "digits", arrays, names, suffix, pack)
    monkeypatch.setenv("MLP_MX_DATA", str(folder))
    train_data, test_data = data.load("idx")
    for loader, images, labels in (train_data, *arrays[:2]), (test_data, *arrays[2:]):
        assert (loader.name, loader.num_outputs, loader.classes) == ("digits", 10, None)
        assert loader.data.shape == (len(labels), 28, 28, 1)
        np.testing.assert_array_equal(
            loader.data.asnumpy()[..., 0], images.astype(np.float32) / np.float32(255))
        assert loader.label.asnumpy().tolist() == labels.tolist()


def test_idx_takes_any_size_and_counts_classes_in_both_halves(tmp_path):
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (30, 8, 6)).astype(np.uint8)
    labels = np.arange(30, dtype=np.uint8)
    train_data, test_data = data.load(
        "idx", write(tmp_path / "MNIST", [images, labels % 5, images, labels]), batch_size=7)
    assert next(iter(train_data))[0].shape == (7, 8, 6, 1)
    assert train_data.num_outputs == test_data.num_outputs == 30
    assert train_data.name == "MNIST (idx)"  # and not taken for MNIST


def test_labels_from_1_are_shifted_and_classes_have_names(folder, arrays):
    letters = "\n".join("abcdefghij")
    (folder / "classes.txt").write_text(letters + "\n", "utf-8-sig")  # as editors on Windows do
    assert data.load("idx", folder)[1].classes == list("abcdefghij")
    write(folder, [arrays[0], arrays[1] + 1, arrays[2], arrays[3] + 1])
    with pytest.warns(UserWarning, match=f"labels in {folder} begin at 1; 1 is subtracted"):
        train_data, test_data = data.load("idx", folder)
    assert train_data.label.asnumpy().tolist() == arrays[1].tolist()
    assert test_data.label.asnumpy().tolist() == arrays[3].tolist()
    assert train_data.num_outputs == 10 and train_data.classes == list("abcdefghij")
    write(folder, arrays)
    for text, complaint in (b"a\nb\n", "expected 10 lines, .*found 2"), (b"\xff", "not UTF-8"):
        (folder / "classes.txt").write_bytes(text)
        with pytest.raises(InputError, match=f"classes.txt.*{complaint}"):
            data.load("idx", folder)


def refused(folder, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        data.load("idx", folder)
    assert "\n" not in str(caught.value)


def test_idx_refuses_mixed_up_files(folder, arrays, tmp_path):
    images, labels, test_images, test_labels = arrays
    for mixed, complaint in [
        ([labels, images, test_images, test_labels], "train-images.*expected images, found"),
        ([images, images, test_images, test_labels], "train-labels.*expected labels, found"),
        ([images, test_labels, test_images, test_labels], "a label for each.*656 images.*500"),
        ([images, labels, test_images[:, 1:], test_labels], "images of one size"),
        ([images[:0], labels[:0], test_images, test_labels], "expected images, found none"),
    ]:
        refused(write(folder, mixed), complaint)
    write(folder, arrays, EMNIST)
    refused(folder, "expected one data set in .*found files of 2: , emnist-letters-; give each")
    refused(tmp_path, "expected train-images-idx3-ubyte.*found none of them")
    refused(tmp_path / "absent", "absent cannot be read: No such file.*--data-dir")
    for name in EMNIST:
        os.unlink(folder / name)
    os.unlink(folder / NAMES[3])
    refused(folder, "found no labels of the test set")


def test_idx_needs_a_folder(monkeypatch):
    monkeypatch.delenv("MLP_MX_DATA", raising=False)
    refused(None, "needs a folder with four IDX files: name it with --data-dir or MLP_MX_DATA")


def huge(count):
    return bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28)


@pytest.mark.parametrize("damage, complaint", [
    (lambda content: b"", "expected an IDX file.*an empty file"),
    (lambda content: b"<html>", "expected an IDX file.*found 3c 68 74 6d"),
    (lambda content: content[:2] + b"\x0d" + content[3:], "expected an IDX file of unsigned bytes"),
    (lambda content: content[:9], "it ends in its header"),
    (lambda content: content[:-1], "promises 656 x 28 x 28 bytes"),
    (lambda content: content + b"1", "promises 656 x 28 x 28 bytes"),
    (lambda content: huge(2**32 - 1), "promises 4294967295 x 28 x 28 bytes, which is not its"),
    (lambda content: gzip.compress(content)[:-1000], "train-images.* is damaged"),
    (lambda content: gzip.compress(content)[:-8] + bytes(8), "is damaged: CRC check failed"),
    (lambda content: gzip.compress(content[:-1]), "promises 656 x 28 x 28 bytes, found 514303"),
    (lambda content: gzip.compress(content + b"12"), "promises .* bytes, found more"),
    (lambda content: gzip.compress(huge(2**32 - 1)), "which is not its size"),
    (lambda content: gzip.compress(content) + bytes(10**6), "which is not its size"),
])
def test_idx_refuses_damaged_files(folder, damage, complaint):
    path = folder / NAMES[0]
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, complaint)


def test_idx_does_not_wait_for_pipes_or_read_a_sparse_file(folder):
    path = folder / NAMES[0]
    os.truncate(path, 6 << 30)
    refused(folder, "train-images-idx3-ubyte is damaged: its header promises")
    path.unlink()
    os.mkfifo(path)
    refused(folder, "train-images-idx3-ubyte cannot be read: Not a regular file")


def test_the_commands_take_idx_files_whose_labels_begin_at_1_and_have_names(tmp_path, capsys):
    def run(command, *arguments):
        assert command.main([*map(str, arguments), "--data-dir", str(folder)]) == 0
        printed, errors = capsys.readouterr()
        assert errors == f"warning: the labels in {folder} begin at 1; 1 is subtracted from each\n"
        return printed.splitlines()

    names = "zero one two three four five six seven eight nine".split()
    arrays = [array for images, labels in SPLITS for array in (images, labels + 1)]
    folder = write(tmp_path / "names", arrays, suffix=".gz", pack=gzip.compress)
    (folder / "classes.txt").write_text("\n".join(names))
    model, whole, log = tmp_path / "model.npz", tmp_path / "whole.npz", tmp_path / "log"
    options = ["--dataset", "idx", "--num-hidden", 32, "--learning-rate", 0.006,
               "--weight-scale", 0.05]
    run(train_command, *options, "--epochs", 3, "--save", whole)
    printed = run(train_command, *options, "--epochs", 2, "--save", model, "--log", log)
    assert printed[0] == "names: 656 training and 500 test examples, on cpu(0)"
    run(train_command, "--resume", model, "--epochs", 3, "--log", log)
    (params, metadata), (expected, _) = checkpoint.load(model), checkpoint.load(whole)
    assert all((one == other).asnumpy().all() for one, other in zip(params, expected))
    assert (metadata["dataset"], metadata["classes"]) == ("names", names)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["dataset"], one["epoch"]) for one in records] == [
        ("names", epoch) for epoch in range(3)]
    params = [param.asnumpy() for param in params]
    on_train, on_test = (
        (forward(images.reshape(-1, 784) / 255, params)[-1].argmax(axis=1) == labels).mean()
        for images, labels in SPLITS)
    assert on_test > 0.5
    assert records[-1]["test_accuracy"] == pytest.approx(on_test)
    printed = run(evaluate_command, model)
    assert printed[1:] == [f"training accuracy: {on_train:.5f} (recorded: {on_train:.5f})",
                           f"test accuracy:     {on_test:.5f} (recorded: {on_test:.5f})"]
    lines = [json.loads(line)
             for line in run(predict_command, model, "--samples", 500, "--json")]
    test_labels = SPLITS[1][1].tolist()
    assert sorted(line["index"] for line in lines) == list(range(500))
    assert all(line["label"] == test_labels[line["index"]] for line in lines)
    assert sum(line["class"] == names[line["label"]] for line in lines) / 500 == on_test

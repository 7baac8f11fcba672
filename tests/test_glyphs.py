"""The embedded data set, and when it takes MNIST's place."""

import hashlib
import os

import matplotlib.image
import numpy as np
import pytest

from mlp_mx import InputError, data
from mlp_mx import glyphs as glyphs_command
from mlp_mx.data import glyphs, mnist

# Of images and labels, the first 1000 of each half: from Linux on x86_64 under several versions of
# NumPy and Matplotlib, with and without vector instructions. All arithmetic is in float64, so that
# a platform agrees unless its outlines differ, or its sine by far more than rounding.
FIRST_1000 = {
    "train": "5c6f7050f83946467701cc5666bf5f05ea8a86a000aaa096d0be7b1f516dc13a",
    "test": "a099d2ef522bdaaf2347f8fd588991ac14201049cb5fe02cb6a603df62b988fa",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data directory in which glyphs have been kept."""
    folder = tmp_path_factory.mktemp("data")
    glyphs.load(folder)
    return folder


@pytest.fixture(scope="module")
def splits(folder):
    return dict(zip(("train", "test"), glyphs.load(folder)))


@pytest.fixture
def no_network(monkeypatch):
    """Mirrors that refuse the connection."""
    monkeypatch.delenv("MLP_MX_MIRROR", raising=False)
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))


@pytest.mark.parametrize("split", ["train", "test"])
def test_generate_draws_the_same_bits_everywhere(split, splits):
    images, labels = glyphs.generate(split, 1000)
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == FIRST_1000[split]
    assert (images == splits[split][0][:1000]).all()
    assert (labels == splits[split][1][:1000]).all()


@pytest.mark.parametrize("split, size", [("train", 60000), ("test", 10000)])
def test_images_are_as_mnists(splits, split, size):
    images, labels = splits[split]
    assert (images.shape, images.dtype) == ((size, 28, 28), np.uint8)
    assert np.bincount(labels).tolist() == [size // 10] * 10
    assert images.min() == 0 and images.max(axis=(1, 2)).min() > 100  # white on black
    for ink in (images.any(axis=1), images.any(axis=2)):  # in a box of 20 x 20
        extent = 28 - ink.argmax(axis=1) - ink[:, ::-1].argmax(axis=1)
        assert extent.max() <= 20
    mass = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = (images.sum(axis=3 - axis) @ np.arange(28)) / mass
        assert abs(centre - 14).max() < 0.55  # MNIST's own are from 13.48 to 14.50


def test_train_and_test_share_neither_fonts_nor_images(splits):
    assert not set(glyphs.FONTS["train"]) & set(glyphs.FONTS["test"])
    train, test = ({image.tobytes() for image in splits[split][0]} for split in ("train", "test"))
    assert len(train) == 60000 and len(test) == 10000
    assert not train & test


def test_load_reads_what_it_kept(folder, splits, monkeypatch):
    monkeypatch.setattr(glyphs, "generate", None)  # is not called
    (images, labels), _ = glyphs.load(folder)
    assert (images == splits["train"][0]).all() and (labels == splits["train"][1]).all()
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", ["flipped bit", "cut", "empty", "other arrays", "folder"])
def test_load_draws_again_what_is_damaged(folder, splits, tmp_path, damage, monkeypatch):
    drawn = []
    monkeypatch.setattr(glyphs, "generate", lambda split, progress: (
        drawn.append(split), splits[split])[1])
    kept, = folder.iterdir()
    damaged = tmp_path / kept.name
    content = bytearray(kept.read_bytes())
    if damage == "flipped bit":
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
    elif damage == "cut":
        damaged.write_bytes(content[:-1000])
    elif damage == "empty":
        damaged.write_bytes(b"")
    elif damage == "other arrays":
        np.savez(damaged, **{f"{split}_{kind}": np.zeros(3, np.uint8)
                             for split in ("train", "test") for kind in ("images", "labels")})
    else:
        damaged.mkdir()
    if damage == "folder":  # which is in the way
        with pytest.warns(UserWarning, match="Is a directory"):
            train, test = glyphs.load(tmp_path)
    else:
        train, test = glyphs.load(tmp_path)
    assert drawn == ["train", "test"]
    assert (train[0] == splits["train"][0]).all() and (test[1] == splits["test"][1]).all()
    if damage != "folder":
        assert kept.read_bytes() == damaged.read_bytes()


def test_load_works_where_nothing_can_be_kept(splits, monkeypatch):
    monkeypatch.setattr(glyphs, "generate", lambda split, progress: splits[split])
    with pytest.warns(UserWarning, match="cannot be saved in /proc/mlp_mx"):
        train, _ = glyphs.load("/proc/mlp_mx")
    assert (train[0] == splits["train"][0]).all()
    with pytest.raises(InputError, match="not a folder"):
        glyphs.load("/dev/null")


def test_auto_takes_mnist_that_is_there(mnist_dir, no_network):
    train_data, test_data = data.load("auto", mnist_dir)
    assert train_data.name == test_data.name == "MNIST"


def test_auto_without_network_takes_glyphs_and_says_so(folder, no_network, splits):
    with pytest.warns(UserWarning, match="THIS IS NOT MNIST.*127.0.0.1:9/ could not be reached"):
        train_data, test_data = data.load("auto", folder)
    assert train_data.name == test_data.name == "glyphs"
    X, label = next(iter(test_data))
    images, labels = splits["test"]
    assert X.shape == (64, 28, 28, 1)
    np.testing.assert_allclose(X.asnumpy()[..., 0] * 255, images[:64], atol=1e-4)
    assert label.asnumpy().tolist() == labels[:64].tolist()


def test_mnist_never_falls_back(folder, no_network):
    with pytest.raises(mnist.DownloadError):
        data.load("mnist", folder)


def test_glyphs_ask_for_no_mnist(folder, monkeypatch):
    monkeypatch.setattr(mnist, "fetch", None)  # is not called
    assert data.load("glyphs", folder)[0].name == "glyphs"


def test_command_draws_the_contact_sheet(folder, splits, tmp_path, capsys):
    path = tmp_path / "sheet.png"
    assert glyphs_command.main([str(path), "--data-dir", str(folder)]) == 0
    picture = matplotlib.image.imread(path)
    assert picture.shape[:2] == (560, 1120)
    images, labels = splits["train"]
    third_seven = images[labels == 7][2]
    drawn = picture[7 * 56:8 * 56:2, 2 * 56:3 * 56:2, 0] * 255
    np.testing.assert_allclose(drawn, third_seven, atol=1)
    assert "20 glyphs of each digit" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, complaint", [
    (["/nowhere/sheet.png"], "cannot be written: No such file"),
    (["folder.png"], "cannot be written: Is a directory"),
    (["pipe.png"], "cannot be written: Not a regular file"),
    (["sheet.jpg"], "ends in .png"),
])
def test_command_says_what_cannot_be_written(
    folder, arguments, complaint, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    os.mkdir("folder.png")
    assert glyphs_command.main([*arguments, "--data-dir", str(folder)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert complaint in errors

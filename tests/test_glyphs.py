"""The embedded data set, and when it takes MNIST's place."""

import hashlib

import numpy as np
import pytest

from mlp_mx import InputError, data
from mlp_mx.data import glyphs, mnist

# SHA-256 of the first 1000 images and labels of each half, on x86_64 Linux, with several versions
# of NumPy and Matplotlib, with and without vector instructions.
FIRST_1000 = {
    "train": "5c6f7050f83946467701cc5666bf5f05ea8a86a000aaa096d0be7b1f516dc13a",
    "test": "a099d2ef522bdaaf2347f8fd588991ac14201049cb5fe02cb6a603df62b988fa",
}


@pytest.fixture(scope="module")
def splits():
    return {split: glyphs.generate(split, 1000) for split in ("train", "test")}


@pytest.fixture
def folder(tmp_path, splits, monkeypatch):
    """A data folder in which `splits` are saved; drawing them again costs nothing."""
    monkeypatch.setattr(glyphs, "SIZES", {"train": 1000, "test": 1000})
    monkeypatch.setattr(glyphs, "DIGEST", glyphs._digest(splits.values()))
    monkeypatch.setattr(glyphs, "generate", lambda split, progress: splits[split])
    glyphs.load(tmp_path / "data")
    return tmp_path / "data"


def test_generate_draws_the_same_bits_everywhere(splits):
    for split, (images, labels) in splits.items():
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        assert digest == FIRST_1000[split]


@pytest.mark.slow
def test_all_images_differ_and_are_like_mnists(splits):
    assert not set(glyphs.FONTS["train"]) & set(glyphs.FONTS["test"])
    different = set()
    for split, size in ("train", 60000), ("test", 10000):
        images, labels = glyphs.generate(split)
        assert (images.shape, images.dtype) == ((size, 28, 28), np.uint8)
        assert (images[:1000] == splits[split][0]).all()
        assert np.bincount(labels).tolist() == [size // 10] * 10
        assert images.min() == 0 and images.max(axis=(1, 2)).min() > 100  # white on black
        mass = images.sum(axis=(1, 2))
        for axis in (1, 2):
            ink = images.any(axis=axis)
            extent = 28 - ink.argmax(axis=1) - ink[:, ::-1].argmax(axis=1)
            assert extent.max() <= 20
            centre = (images.sum(axis=3 - axis) @ np.arange(28)) / mass
            assert abs(centre - 14).max() < 0.55  # MNIST's own are from 13.48 to 14.50
        different.update(image.tobytes() for image in images)
    assert len(different) == 70000


def assert_loaded(folder, splits):
    for found, expected in zip(glyphs.load(folder), splits.values()):
        assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()


def test_load_reads_what_it_saved_and_draws_again_what_is_damaged(folder, splits, monkeypatch):
    kept, = folder.iterdir()
    content = kept.read_bytes()
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    for damaged in (flipped, content[:-1000], b""):
        kept.write_bytes(damaged)
        assert_loaded(folder, splits)
        assert kept.read_bytes() == content and [*folder.iterdir()] == [kept]
    monkeypatch.setattr(glyphs, "generate", None)  # is not called
    assert_loaded(folder, splits)


def test_load_never_overwrites_or_takes_an_intact_file_of_something_else(folder, splits):
    kept, = folder.iterdir()
    arrays = dict(np.load(kept))
    crafted = {**arrays, "test_labels": np.full(1000, 77, np.uint8)}
    nans = {**arrays, "train_images": np.full((1000, 28, 28), np.nan)}
    for others in {"W1": np.zeros((784, 10))}, crafted, nans, {**arrays, "more": np.zeros(3)}:
        np.savez(kept, **others)
        content = kept.read_bytes()
        with pytest.raises(InputError, match="glyphs-1.npz is intact but holds something other"):
            glyphs.load(folder)
        assert kept.read_bytes() == content


def test_load_does_not_save_what_other_machines_would_not_draw(folder, splits, monkeypatch):
    kept, = folder.iterdir()
    kept.unlink()
    monkeypatch.setattr(glyphs, "DIGEST", "of others")
    with pytest.warns(UserWarning, match="cannot be saved in .*draws them differently"):
        assert_loaded(folder, splits)
    assert not [*folder.iterdir()]


def test_load_works_where_nothing_can_be_saved(folder, splits):
    kept, = folder.iterdir()
    kept.unlink()
    kept.mkdir()
    for place, reason in (folder, "Is a directory"), ("/proc/mlp_mx", "No such file"):
        with pytest.warns(UserWarning, match=f"glyphs cannot be saved in {place} .*{reason}"):
            assert_loaded(place, splits)
    with pytest.raises(InputError, match="/dev/null is not a folder; choose another"):
        glyphs.load("/dev/null")


def test_auto_without_network_takes_glyphs_and_says_so(folder, monkeypatch, splits):
    monkeypatch.delenv("MLP_MX_MIRROR", raising=False)
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))  # refuses the connection
    with pytest.warns(UserWarning, match="THIS IS NOT MNIST.*127.0.0.1:9 .connection failed"):
        train_data, test_data = data.load("auto", folder)
    assert train_data.name == test_data.name == "glyphs"
    X, label = next(iter(test_data))
    images, labels = splits["test"]
    assert X.shape == (64, 28, 28, 1)
    np.testing.assert_allclose(X.asnumpy()[..., 0] * 255, images[:64], atol=1e-4)
    assert label.asnumpy().tolist() == labels[:64].tolist()
    with pytest.raises(mnist.DownloadError):  # MNIST that is asked for is never replaced
        data.load("mnist", folder)
    monkeypatch.setattr(mnist, "fetch", None)  # is not called for glyphs
    assert data.load("glyphs", folder)[0].name == "glyphs"

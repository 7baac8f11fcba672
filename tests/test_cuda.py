"""What is found out about wheels, libraries, driver and cards, without any of them."""

import ctypes
import shutil
import sys

import pytest

from mlp_mx.runtime import cuda


@pytest.fixture
def site_packages(tmp_path, monkeypatch):
    """Install distributions with one file each: ``site_packages(name, file, content)``."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])

    def install(name, file, content):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        with open(info / "RECORD", "a") as record:
            record.write(f"{file},sha256=x,{len(content)}\n")

    return install


def test_installed_wheel_is_the_last_one_installed(site_packages, tmp_path):
    assert cuda.installed_wheel() is None
    site_packages("mxnet", "mxnet/libmxnet.so", b"cpu")
    assert cuda.installed_wheel() == "mxnet"
    site_packages("mxnet-cu117", "mxnet/libmxnet.so", b"cuda 11")
    assert cuda.installed_wheel() == "mxnet-cu117"
    site_packages("mxnet", "mxnet/libmxnet.so", b"cpu")
    assert cuda.installed_wheel() == "mxnet"
    shutil.rmtree(tmp_path / "site-packages" / "mxnet")
    assert cuda.installed_wheel() is None


def test_load_libraries_loads_those_that_are_there_in_order(site_packages, monkeypatch):
    loaded = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append((path[-20:], mode)))
    cuda.load_libraries()
    assert loaded == []
    for package, name in reversed(cuda.LIBRARIES[:6]):
        site_packages(package, f"nvidia/lib/{name}", b"")
    cuda.load_libraries()
    assert loaded == [
        (f"nvidia/lib/{name}"[-20:], ctypes.RTLD_GLOBAL) for _, name in cuda.LIBRARIES[:6]]


class Driver:
    """As much of libcuda.so.1 as `cuda.cards` uses."""

    def __init__(self, cards, status=0):
        self.cards, self.status = cards, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal + 100
        return 0

    def cuDeviceGetName(self, name, size, device):
        name.value = self.cards[device.value - 100][0].encode()
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self.cards[device.value - 100][1][{75: 0, 76: 1}[attribute]]
        return 0


def test_cards_are_those_of_the_driver(monkeypatch):
    found = [("NVIDIA A100", (8, 0)), ("NVIDIA H200", (9, 0)), ("Tesla K80", (3, 7))]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(found))
    assert cuda.cards() == found
    assert [card.is_usable() for card in cuda.cards()] == [True, False, False]


def test_cards_are_none_without_a_driver_or_a_card(monkeypatch):
    assert cuda.cards("libno-such-driver.so.1") == []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver([], status=100))
    assert cuda.cards() == []

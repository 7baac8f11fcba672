"""What is found out about NVIDIA's libraries, driver and cards, without any of them."""

import ctypes
import sys

from mlp_mx.runtime import cuda


def test_load_libraries_loads_those_that_are_there_in_order(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append((path, mode)))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "absent"), str(tmp_path)])
    assert cuda.load_libraries() == loaded == []
    paths = []
    for number, name in enumerate(cuda.LIBRARIES[:6]):
        folder = tmp_path / "nvidia" / f"package{9 - number}" / "lib"
        folder.mkdir(parents=True)
        (folder / name).touch()
        paths.append(str(folder / name))
    assert cuda.load_libraries() == paths
    assert loaded == [(path, ctypes.RTLD_GLOBAL) for path in paths]


class Driver:
    """As much of libcuda.so.1 as `cuda.cards` uses."""

    def __init__(self, cards, status=0):
        self.cards, self.cuInit = cards, lambda flags: status

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal + 100

    def cuDeviceGetName(self, name, size, device):
        name.value = self.cards[device.value - 100][0].encode()

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self.cards[device.value - 100][1][{75: 0, 76: 1}[attribute]]


def test_cards_are_those_of_the_driver_or_none(monkeypatch):
    assert cuda.cards("libno-such-driver.so.1") == []
    found = [("NVIDIA A100", (8, 0)), ("NVIDIA H200", (9, 0)), ("Tesla K80", (3, 7))]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(found))
    assert cuda.cards() == found
    assert [card.is_usable() for card in cuda.cards()] == [True, False, False]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(found, status=100))
    assert cuda.cards() == []

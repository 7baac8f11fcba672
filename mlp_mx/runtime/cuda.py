"""What MXNet's GPU wheels need from NVIDIA: the CUDA 11 libraries, and a card they can use."""

import ctypes
import glob
import os
import sys
from typing import NamedTuple

__all__ = ["Card", "LIBRARIES", "cards", "load_libraries"]

# The wheels need these in addition to the driver; each comes after the ones that it needs itself.
LIBRARIES = (
    "libcudart.so.11.0", "libnvToolsExt.so.1", "libnvrtc-builtins.so.11.8", "libnvrtc.so.11.2",
    "libcublasLt.so.11", "libcublas.so.11", "libcufft.so.10", "libcurand.so.10",
    "libcusparse.so.11", "libcusolver.so.11", "libcudnn.so.8", "libnccl.so.2",
)
MAJOR, MINOR = 75, 76  # CUdevice_attribute of the compute capability


class Card(NamedTuple):
    """A GPU, as the driver describes it."""

    name: str
    capability: tuple
    """Compute capability, for example ``(8, 6)``."""

    def is_usable(self):
        """Whether MXNet's GPU wheels have machine code for it.

        They have code for 5.0, 6.0, 7.0, 8.0 and 8.6, which runs on later cards of the same major
        version, and none that the driver could compile for other cards.
        """
        return (5, 0) <= self.capability < (9, 0)

    def __str__(self):
        return f"{self.name} of compute capability {self.capability[0]}.{self.capability[1]}"


def load_libraries():
    """Load the CUDA libraries that pip has installed, unknown to the linker; return their paths."""
    folders = [folder for path in sys.path
               for folder in glob.glob(os.path.join(glob.escape(path), "nvidia", "*", "lib"))]
    found = []
    for name in LIBRARIES:
        paths = [os.path.join(folder, name) for folder in folders]
        found += [path for path in paths if os.path.exists(path)][:1]
    for path in found:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    return found


def cards(driver="libcuda.so.1"):
    """Ask the driver for its cards: a list in CUDA's order, empty without a card or a driver.

    MXNet cannot be asked: it finds out by using a card, and aborts the process if there is none.
    """
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    return [_card(cuda, ordinal) for ordinal in range(count.value)]


def _card(cuda, ordinal):
    device, name = ctypes.c_int(), ctypes.create_string_buffer(100)
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    cuda.cuDeviceGetName(name, len(name), device)
    major, minor = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    return Card(name.value.decode(), (major.value, minor.value))

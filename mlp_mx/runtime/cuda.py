"""NVIDIA's side of MXNet's GPU wheels: their libraries, the driver and its cards. No MXNet here."""

import ctypes
import importlib.metadata
import os
from typing import NamedTuple

__all__ = [
    "Card", "LIBRARIES", "SONAMES", "WHEELS", "cards", "has_gpu_wheel", "installed_wheel",
    "load_libraries",
]

WHEELS = ("mxnet-cu117", "mxnet-cu112")  # the CUDA 11 ones on PyPI
# What the wheels need beside the driver: packages on PyPI and files, each after what it needs.
LIBRARIES = (
    ("nvidia-cuda-runtime-cu11", "libcudart.so.11.0"),
    ("nvidia-nvtx-cu11", "libnvToolsExt.so.1"),
    ("nvidia-cuda-nvrtc-cu11", "libnvrtc-builtins.so.11.8"),
    ("nvidia-cuda-nvrtc-cu11", "libnvrtc.so.11.2"),
    ("nvidia-cublas-cu11", "libcublasLt.so.11"),
    ("nvidia-cublas-cu11", "libcublas.so.11"),
    ("nvidia-cufft-cu11", "libcufft.so.10"),
    ("nvidia-curand-cu11", "libcurand.so.10"),
    ("nvidia-cusparse-cu11", "libcusparse.so.11"),
    ("nvidia-cusolver-cu11", "libcusolver.so.11"),
    ("nvidia-cudnn-cu11", "libcudnn.so.8"),
    ("nvidia-nccl-cu11", "libnccl.so.2"),
)
SONAMES = [name for _, name in LIBRARIES]
MAJOR, MINOR = 75, 76  # CUdevice_attribute of the compute capability


class Card(NamedTuple):
    """A GPU, as the driver describes it."""

    name: str
    capability: tuple
    """Compute capability, for example ``(8, 6)``."""

    def is_usable(self):
        """Whether MXNet's wheels have machine code for it.

        They have it for 5.0, 6.0, 7.0, 8.0 and 8.6, which later cards of the same major number
        can run, and nothing that the driver could translate for others.
        """
        return (5, 0) <= self.capability < (9, 0)

    def __str__(self):
        return f"{self.name} of compute capability {self.capability[0]}.{self.capability[1]}"


def installed_wheel():
    """Name the distribution whose ``libmxnet.so`` is there.

    The wheels for CPU and GPU have the same files, and the last one installed has won.

    Returns
    -------
    str or None
        "mxnet", one of `WHEELS`, or None if it is from elsewhere.
    """
    for distribution in (*WHEELS, "mxnet"):
        library = _file(distribution, "libmxnet.so")
        if library and os.path.getsize(library.locate()) == library.size:
            return distribution
    return None


def has_gpu_wheel():
    """Whether a GPU wheel has been installed, if only to be overwritten since."""
    return any(_file(distribution, "libmxnet.so") for distribution in WHEELS)


def load_libraries():
    """Load the CUDA 11 libraries that are installed from PyPI, where the GPU wheel will need them.

    The dynamic linker then finds them loaded, and needs no CUDA toolkit and no search path.
    """
    for package, name in LIBRARIES:
        library = _file(package, name)
        if library:
            ctypes.CDLL(str(library.locate()), mode=ctypes.RTLD_GLOBAL)


def _file(distribution, name):
    """A file of an installed distribution, or None."""
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((file for file in files if file.name == name and file.locate().exists()), None)


def cards(driver="libcuda.so.1"):
    """Ask the driver for its cards; MXNet's first touch of one that it cannot use is too late.

    Returns
    -------
    list of Card
        In CUDA's order; empty if there is no card, or no driver.
    """
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return []
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for ordinal in range(count.value):
        cuda.cuDeviceGet(ctypes.byref(device), ordinal)
        cuda.cuDeviceGetName(name, len(name), device)
        found.append(Card(name.value.decode(), tuple(
            _attribute(cuda, attribute, device) for attribute in (MAJOR, MINOR))))
    return found


def _attribute(cuda, attribute, device):
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value

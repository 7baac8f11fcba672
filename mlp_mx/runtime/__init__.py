"""MXNet 1.9.1 on today's machines: the only module that imports it.

``from mlp_mx.runtime import mx, nd, autograd, gluon`` loads MXNet; importing the module itself does
not, so that ``python -m mlp_mx.runtime`` can say why MXNet does not load.
"""

import contextlib
import ctypes
import functools
import importlib
import importlib.metadata
import os
import platform
import re
import sys
import warnings

import numpy as np  # before MXNet, so that its own OpenBLAS does not see the kernel chosen below

from .. import Error, InputError
from . import cuda

__all__ = ["MXNetLoadError", "blas_kernel", "context", "contexts", "load", "load_mkl"]

# Debian's packages of the system libraries that MXNet's wheel expects to find.
SYSTEM_PACKAGES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}
# The CPU and the GPU wheel overwrite each other's files, so the one wanted is installed once more.
INSTALL_CPU = "pip install --force-reinstall --no-deps mxnet==1.9.1"
INSTALL_GPU = (
    "pip install 'mlp_mx[cu117]' && "
    "pip install --force-reinstall --no-deps mxnet-cu117==1.9.1"
)


class MXNetLoadError(Error, ImportError):
    """MXNet cannot be imported; the message says why, and what mends it."""


def __getattr__(name):
    if name not in ("autograd", "gluon", "mx", "nd"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    mx = load()
    return mx if name == "mx" else getattr(mx, name)


@functools.lru_cache(maxsize=None)
def load():
    """Import MXNet, once.

    Returns
    -------
    module
        ``mxnet``.

    Raises
    ------
    MXNetLoadError
        If it is not installed, or if this Python, this NumPy or this system cannot load it.
    """
    # NumPy 1.24 removed the alias, and MXNet looks it up at import and at run time (apache/mxnet
    # issue 21165). `vars`, because NumPy 1.20 to 1.23 warn when the attribute is asked for.
    if "bool" not in vars(np):
        np.bool = bool
    load_mkl()
    try:
        if cuda.installed_wheel() in cuda.WHEELS:
            cuda.load_libraries()
        with warnings.catch_warnings(), _environment(OPENBLAS_CORETYPE=blas_kernel()):
            warnings.simplefilter("ignore")  # MXNet's use of what NumPy and Python deprecated since
            return importlib.import_module("mxnet")
    except Exception as error:
        raise MXNetLoadError(f"MXNet cannot be loaded: {_diagnose(error)}") from error


@contextlib.contextmanager
def _environment(**variables):
    """Set those of the `variables` that the user has not set and that are not None, for a while."""
    chosen = {
        name: value for name, value in variables.items() if value and name not in os.environ
    }
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name in chosen:
            del os.environ[name]


@functools.lru_cache(maxsize=None)
def load_mkl():
    """Load Intel's MKL, if it is installed, so that MXNet's BLAS calls are answered by it.

    The dynamic linker looks for ``cblas_sgemm`` in what was loaded for all before it looks in the
    OpenBLAS that MXNet's wheel brings.

    Returns
    -------
    ctypes.CDLL or None
        None where there is no MKL, or where ``MLP_MX_BLAS=openblas`` rules it out.
    """
    choice = os.environ.get("MLP_MX_BLAS") or "mkl"
    if choice not in ("mkl", "openblas"):
        raise InputError(f"MLP_MX_BLAS: expected 'mkl' or 'openblas', found {choice!r}")
    if choice == "openblas" or "mxnet" in sys.modules:
        return None
    try:
        files = importlib.metadata.files("mkl") or ()
        path = next(file.locate() for file in files if file.name.startswith("libmkl_rt.so"))
        mkl = ctypes.CDLL(os.path.realpath(path), mode=ctypes.RTLD_GLOBAL)
        # One thread: the matrices are small, and MXNet's OpenMP is not the one that MKL would use.
        mkl.MKL_Set_Threading_Layer(1)
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError, AttributeError):
        return None
    return mkl


def _diagnose(error):
    """Say what `error`, raised by ``import mxnet``, comes from and what mends it."""
    missing = getattr(error, "name", None)
    library = re.match(r"(lib\w+\.so[.\d]*): cannot open shared object", str(error))
    if sys.version_info >= (3, 13):
        return (
            f"this is Python {platform.python_version()}, and MXNet 1.9.1 needs NumPy 1, which "
            "ends at Python 3.12; use Python 3.9 to 3.12"
        )
    if missing == "mxnet":
        return (
            "it is not installed; run: pip install mxnet==1.9.1 "
            "(for Linux on x86_64 and aarch64, and macOS on x86_64)"
        )
    if missing == "distutils":
        return f"Python {platform.python_version()} has no distutils; run: pip install setuptools"
    if int(np.__version__.split(".")[0]) >= 2:
        return f"it needs NumPy 1, and NumPy {np.__version__} is here; run: pip install 'numpy<2'"
    if library and library[1] == "libcuda.so.1":
        return (
            "this is MXNet's GPU wheel, and NVIDIA's driver is not installed (libcuda.so.1); "
            f"install it, or, for the CPU, run: {INSTALL_CPU}"
        )
    if library and library[1] in cuda.SONAMES:
        return (
            f"CUDA's {library[1]} is missing, which MXNet's GPU wheel needs; run: {INSTALL_GPU}"
        )
    if library and library[1] in SYSTEM_PACKAGES:
        return (
            f"the system library {library[1]} is missing; "
            f"on Debian and Ubuntu, run: apt-get install {' '.join(SYSTEM_PACKAGES.values())}"
        )
    return f"{type(error).__name__}: {error}"


def cpu_features(cpuinfo="/proc/cpuinfo"):
    """The CPU's feature flags, as Linux on x86 names them; an empty set elsewhere.

    Returns
    -------
    frozenset of str
        For example ``{"avx2", "fma", …}``.
    """
    try:
        with open(cpuinfo, encoding="ascii", errors="replace") as lines:
            return frozenset(next(line for line in lines if line.startswith("flags")).split()[2:])
    except (OSError, StopIteration):
        return frozenset()


def blas_kernel(features=None):
    """The OpenBLAS kernel that suits this CPU.

    The OpenBLAS in MXNet's wheel is of 2021. It does not know newer CPUs, and on those it falls
    back to a kernel of the SSE3 age, which halves the speed of ``nd.dot``.

    Parameters
    ----------
    features : set of str, optional
        CPU feature flags; by default this CPU's.

    Returns
    -------
    str or None
        A value for ``OPENBLAS_CORETYPE``; None where OpenBLAS had better choose for itself.
    """
    features = cpu_features() if features is None else features
    return "Haswell" if {"avx2", "fma"} <= features else None


def context(name="auto"):
    """The device to compute on.

    Parameters
    ----------
    name : str, default "auto"
        "cpu" or "gpu", or one of several: "gpu:1" (the number counts from 0; every CPU context
        is the same CPU, with a queue of its own). "auto" is a GPU if there is one that MXNet can
        use, as in the chapter, and the CPU otherwise.

    Returns
    -------
    mxnet.Context

    Raises
    ------
    InputError
        If the name is none of these, or names a GPU that is not there.
    """
    match = re.fullmatch(r"(?:auto|(?:cpu|gpu)(?::(\d{1,3}))?)", name, re.ASCII)
    if not match:
        raise InputError(
            f"expected a context 'auto', 'cpu', 'cpu:N', 'gpu' or 'gpu:N', found {name!r}"
        )
    mx = load()
    gpus, why_not = _gpus()
    if name.startswith("cpu") or (name == "auto" and not gpus):
        return mx.cpu(int(match[1] or 0))
    device_id = gpus[0] if name == "auto" else int(match[1] or 0)
    if device_id not in gpus:
        raise InputError(f"context {name!r} needs a GPU that MXNet can use: {why_not}")
    return mx.gpu(device_id)


def contexts(names):
    """The devices to compute on together.

    Parameters
    ----------
    names : str
        Names as `context` takes them, with commas between them, each device once: "gpu:0,gpu:1".

    Returns
    -------
    list of mxnet.Context

    Raises
    ------
    InputError
        If a name is not one that `context` takes, or if a device comes twice.
    """
    devices = [context(name) for name in names.split(",")]
    twice = [str(device) for device in devices if devices.count(device) > 1]
    if twice:
        raise InputError(f"expected each device once, found {twice[0]} more than once in {names!r}")
    return devices


def _gpus():
    """Find the GPUs that MXNet can use: ``(list of their numbers, why there are no others)``.

    Neither ``mx.gpu()`` nor ``num_gpus`` fails for the others. A first use does, and where there is
    no card, it aborts the process.
    """
    mx = load()
    if not mx.runtime.Features().is_enabled("CUDA"):
        over = ", installed over its GPU wheel" if cuda.has_gpu_wheel() else ""
        return [], f"this is MXNet's CPU wheel{over}; use --ctx cpu, or run: {INSTALL_GPU}"
    cards = cuda.cards()
    usable = [number for number, card in enumerate(cards) if card.is_usable()]
    if not cards:
        return usable, "the driver knows of no card; use --ctx cpu"
    found = ", ".join(f"gpu:{number} is {card}" for number, card in enumerate(cards))
    return usable, (f"{found}, and MXNet's GPU wheel has code for compute capabilities from 5.0 to "
                    "8.9 only; use another card, or --ctx cpu")

"""Which BLAS answers ``nd.dot``: Intel's MKL where it is installed, else OpenBLAS's best kernel."""

import ctypes
import functools
import importlib.metadata
import os
import sys

from .. import InputError

__all__ = ["blas_in_use", "blas_kernel", "cpu_features", "load_mkl"]


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


def blas_in_use(mx):
    """Name the BLAS library that ``nd.dot`` calls, with the kernel that it chose."""
    mkl = load_mkl()
    if mkl:
        version = ctypes.create_string_buffer(200)
        mkl.MKL_Get_Version_String(version, len(version))
        return version.value.decode().strip()
    try:
        openblas = ctypes.CDLL(os.path.join(os.path.dirname(mx.__file__), "libopenblas.so.0"))
        openblas.openblas_get_config.restype = ctypes.c_char_p
        return openblas.openblas_get_config().decode()
    except OSError:  # other wheels, such as macOS's, link another one
        return ", ".join(
            name for name, feature in mx.runtime.Features().items()
            if name.startswith("BLAS_") and feature.enabled
        )

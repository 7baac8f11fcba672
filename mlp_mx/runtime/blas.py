"""OpenBLAS, which computes ``nd.dot``: the kernel that suits this CPU, and the one in use."""

import os

__all__ = ["blas_in_use", "blas_kernel", "cpu_features"]


def cpu_features(cpuinfo="/proc/cpuinfo"):
    """The CPU's feature flags as Linux on x86 names them, such as "avx2"; none elsewhere."""
    try:
        with open(cpuinfo, encoding="ascii", errors="replace") as lines:
            return frozenset(next(line for line in lines if line.startswith("flags")).split()[2:])
    except (OSError, StopIteration):
        return frozenset()


def blas_kernel(features=None):
    """The ``OPENBLAS_CORETYPE`` that suits a CPU with such flags; None leaves it to OpenBLAS.

    MXNet's OpenBLAS dates from 2021. On newer CPUs it falls back to a kernel for SSE3, and
    ``nd.dot`` takes twice as long.
    """
    features = cpu_features() if features is None else features
    return "Haswell" if {"avx2", "fma"} <= features else None


def blas_in_use(mx):
    """Name the BLAS library that ``nd.dot`` calls and, for OpenBLAS, the kernel it runs."""
    import ctypes  # here, because each import delays every process that has the hook

    try:
        openblas = ctypes.CDLL(os.path.join(os.path.dirname(mx.__file__), "libopenblas.so.0"))
    except OSError:  # other wheels, such as macOS's, link another one
        return ", ".join(name for name, feature in mx.runtime.Features().items()
                         if name.startswith("BLAS_") and feature.enabled)
    openblas.openblas_get_config.restype = ctypes.c_char_p
    return openblas.openblas_get_config().decode()

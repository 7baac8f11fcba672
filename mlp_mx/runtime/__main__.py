"""``python -m mlp_mx.runtime``: what this machine has, and what is wrong with it."""

import ctypes
import importlib.metadata
import os
import platform
import sys

import numpy as np

from . import MXNetLoadError, _gpus, cpu_features, load, load_mkl
from .. import __version__
from .._support import cli
from ..data import mnist


def _blas_in_use(mx):
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


def _version(distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe():
    """What a bug report needs to say about this machine.

    Returns
    -------
    dict of str to str
        From a heading, such as ``"MXNet"``, to what was found.
    """
    facts = {
        "mlp_mx": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "NumPy": np.__version__,
        "Matplotlib": _version("matplotlib"),
    }
    try:
        mx = load()
    except MXNetLoadError as error:
        facts["MXNet"] = str(error)
    else:
        gpus, why_not = _gpus()
        wheel = "GPU" if mx.runtime.Features().is_enabled("CUDA") else "CPU"
        facts["MXNet"] = f"{mx.__version__}, {wheel} wheel"
        facts["devices"] = f"cpu(0), GPUs: {', '.join(map(str, gpus)) or why_not}"
        facts["BLAS"] = _blas_in_use(mx)
    features = [name for name in ("avx", "avx2", "fma", "avx512f") if name in cpu_features()]
    facts["CPU"] = f"{os.cpu_count()} cores; {' '.join(features) or 'features unknown'}"
    folder = mnist.folder()
    facts["data directory"] = str(folder)
    facts.update({f"  {name}": state for name, state in mnist.status(folder).items()})
    return facts


def _parser():
    return cli.ArgumentParser(
        prog="python -m mlp_mx.runtime", description="Print what a bug report needs."
    )


@cli.command
def main(argv=None):
    """Print what `describe` finds."""
    _parser().parse_args(argv)
    for heading, fact in describe().items():
        print(f"{heading + ':':<30} {fact}")


if __name__ == "__main__":
    sys.exit(main())

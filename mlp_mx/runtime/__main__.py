"""``python -m mlp_mx.runtime``: what this machine has, and what is wrong with it."""

import os
import platform
import sys

from . import _gpus, blas, diagnosis, load
from .. import Error, __version__
from .._support import cli

PACKAGES = ("NumPy", "Matplotlib", "Pillow", "tqdm", "pooch", "requests")


def describe():
    """What a bug report needs to say about this machine: what was found, by headings."""
    features = [name for name in ("avx", "avx2", "fma", "avx512f") if name in blas.cpu_features()]
    not_installed = f"not installed; run: {diagnosis.pip(diagnosis.INSTALL_PACKAGE)}"
    return {
        "mlp_mx": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "CPU": f"{os.cpu_count()} cores; {' '.join(features) or 'features unknown'}",
        **{name: diagnosis.version(name) or not_installed for name in PACKAGES},
        **_describe_mxnet(),
        **_describe_data(),
    }


def _describe_mxnet():
    try:
        mx = load()
    except Error as error:
        return {"MXNet": str(error)}
    gpus, why_not = _gpus()
    wheel = "GPU" if mx.runtime.Features().is_enabled("CUDA") else "CPU"
    return {
        "MXNet": f"{mx.__version__}, {wheel} wheel",
        "devices": "cpu(0), " + (
            ", ".join(f"gpu({number})" for number in gpus) or f"no GPU: {why_not}"),
        "BLAS": blas.blas_in_use(mx),
    }


def _describe_data():
    try:
        from ..data import mnist
    except ImportError as error:  # the report is for machines that lack packages, too
        return {"data directory": f"not examined: {error}"}
    folder = mnist.folder()
    return {"data directory": str(folder),
            **{f"  {name}": state for name, state in mnist.status(folder).items()}}


def _parser():
    return cli.ArgumentParser(
        prog="python -m mlp_mx.runtime",
        description="Report what this machine has, what is wrong, and how to fix it.")


@cli.command
def main(argv=None):
    """Print what `describe` finds."""
    _parser().parse_args(argv)
    for heading, fact in describe().items():
        print(f"{heading + ':':<30} {fact}")


if __name__ == "__main__":
    sys.exit(main())

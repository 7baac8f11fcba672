"""MXNet 1.9.1 on today's machines: the only module that imports it.

``from mlp_mx.runtime import mx, nd, autograd, gluon`` loads MXNet. Importing the module itself does
not, and needs no other package, so ``python -m mlp_mx.runtime`` can say why MXNet does not load.

- `imports`, `numpy_names` and `patches` fit MXNet's modules to today's Python and NumPy,
- `blas` chooses OpenBLAS's kernel, `cuda` knows about GPUs,
- `diagnosis` says what to do if MXNet does not load,
- `lazy` has MXNet's modules for this package's own, loaded when they are first used.
"""

import functools
import importlib
import os
import re
import threading

from .. import Error, InputError
from . import cuda, diagnosis
from .blas import blas_kernel, cpu_features

__all__ = ["MXNetLoadError", "blas_kernel", "context", "contexts", "cpu_features", "load"]

_loading = threading.RLock()


class MXNetLoadError(Error, ImportError):
    """MXNet cannot be imported; the message says why, and what fixes it."""


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
        If it is not installed, or if this system cannot load it.
    InputError
        If an environment variable would make MXNet abort.
    """
    diagnosis.check_environment()
    try:
        with _loading:
            return _import_mxnet()
    except Exception as error:
        raise MXNetLoadError(f"MXNet cannot be loaded: {diagnosis.explain(error)}") from error


def _import_mxnet():
    """Import MXNet while its OpenBLAS is told which kernel to use."""
    from . import imports  # and NumPy with it, whose own OpenBLAS must not see that kernel

    kernel = None if "OPENBLAS_CORETYPE" in os.environ else blas_kernel()
    if kernel:
        os.environ["OPENBLAS_CORETYPE"] = kernel
    try:
        imports.install()
        return importlib.import_module("mxnet")
    except OSError as error:
        # The GPU wheel, and the dynamic linker does not know where pip has put CUDA's libraries.
        if diagnosis.missing_library(error) not in cuda.LIBRARIES or not cuda.load_libraries():
            raise
        imports.install()
        return importlib.import_module("mxnet")
    finally:
        if kernel:
            del os.environ["OPENBLAS_CORETYPE"]


def context(name="auto"):
    """The device to compute on.

    Parameters
    ----------
    name : str, default "auto"
        "cpu", "gpu", or one of several, counted from 0: "gpu:1". (Every CPU context is the same
        CPU, with a queue of its own.) "auto" is the first GPU that MXNet can use, as in the
        chapter, or else the CPU.

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
    """The devices that compute together: a list, from names for `context`, such as "gpu:0,gpu:1".

    An `InputError` if a device appears twice.
    """
    devices = [context(name) for name in names.split(",")]
    twice = [str(device) for device in devices if devices.count(device) > 1]
    if twice:
        raise InputError(f"expected each device once, found {twice[0]} more than once in {names!r}")
    return devices


def _gpus():
    """The numbers of the GPUs that MXNet can use, and why there are no others."""
    if not load().runtime.Features().is_enabled("CUDA"):
        return [], f"this is MXNet's CPU wheel; use --ctx cpu, or run: {diagnosis.INSTALL_GPU}"
    cards = cuda.cards()
    if not cards:
        return [], "the driver finds no card; use --ctx cpu"
    usable = [number for number, card in enumerate(cards) if card.is_usable()]
    found = ", ".join(f"gpu:{number} is {card}" for number, card in enumerate(cards))
    return usable, (f"{found}, and MXNet's GPU wheel only has code for compute capabilities 5.0 to "
                    "8.9; use another card, or --ctx cpu")

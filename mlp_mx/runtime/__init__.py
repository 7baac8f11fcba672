"""MXNet 1.9.1 on today's machines: the only module that imports it.

``from mlp_mx.runtime import mx, nd, autograd, gluon`` loads MXNet; importing the module itself does
not, and needs no other package either, so that ``python -m mlp_mx.runtime`` can say why MXNet does
not load. In here:

- `imports`, `numpy_names` and `mends` bring MXNet's modules to today's Python and NumPy,
- `blas` chooses what multiplies matrices, and `cuda` looks after GPUs,
- `diagnosis` knows what to do where MXNet does not load,
- `lazy` has MXNet's modules for the package's own, loaded when they are first used.
"""

import contextlib
import functools
import importlib
import os
import re

from .. import Error, InputError
from . import cuda, diagnosis
from .blas import blas_kernel, cpu_features, load_mkl

__all__ = [
    "MXNetLoadError", "blas_kernel", "context", "contexts", "cpu_features", "load", "load_mkl",
]


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
        If it is not installed, or if this system cannot load it.
    InputError
        If an environment variable would make MXNet abort.
    """
    diagnosis.check_environment()
    try:
        # NumPy comes before MXNet, so that its own OpenBLAS does not see the kernel chosen below.
        from . import imports
        load_mkl()
        if cuda.installed_wheel() in cuda.WHEELS:
            cuda.load_libraries()
        imports.install()
        with _environment(OPENBLAS_CORETYPE=blas_kernel()):
            return importlib.import_module("mxnet")
    except InputError:
        raise
    except Exception as error:
        raise MXNetLoadError(f"MXNet cannot be loaded: {diagnosis.explain(error)}") from error


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
        return [], (f"this is MXNet's CPU wheel{over}; use --ctx cpu, or run: "
                    f"{diagnosis.INSTALL_GPU}")
    cards = cuda.cards()
    usable = [number for number, card in enumerate(cards) if card.is_usable()]
    if not cards:
        return usable, "the driver knows of no card; use --ctx cpu"
    found = ", ".join(f"gpu:{number} is {card}" for number, card in enumerate(cards))
    return usable, (f"{found}, and MXNet's GPU wheel has code for compute capabilities from 5.0 to "
                    "8.9 only; use another card, or --ctx cpu")

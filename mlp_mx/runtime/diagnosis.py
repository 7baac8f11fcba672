"""Why MXNet does not load, and the command that mends it on this very machine.

Nothing here needs NumPy or any other package.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import sys
import sysconfig

from .. import InputError
from . import cuda

__all__ = [
    "INSTALL_GPU", "INSTALL_PACKAGE", "check_environment", "explain", "pip", "version",
]

# MXNet's own metadata ask for NumPy 1, so pip can install it everywhere only without looking at
# them; what it needs is in this package's metadata.
INSTALL = "pip install --no-deps mxnet==1.9.1"
INSTALL_PACKAGE = "pip install ."
# The CPU and the GPU wheel overwrite each other's files, so the one wanted is installed once more.
INSTALL_CPU = "pip install --force-reinstall --no-deps mxnet==1.9.1"
INSTALL_GPU = (
    "pip install '.[cu117]' && pip install --force-reinstall --no-deps mxnet-cu117==1.9.1")
# By machine: the system libraries that the wheel needs, and how Debian and Ubuntu get them.
SYSTEM_LIBRARIES = {
    "x86_64": ("libgomp.so.1", "libquadmath.so.0"),
    "aarch64": ("libgomp.so.1", "libarmpl_lp64_mp.so", "libamath.so", "libastring.so"),
}
APT = "apt-get update && apt-get install -y "
# Arm's wheel is linked to Arm's own libraries of mathematics, which no package has. Others have
# the functions that it calls.
DEBIAN = {
    "x86_64": APT + "libgomp1 libquadmath0",
    "aarch64": (
        APT + "libgomp1 libopenblas0-openmp liblapacke && cd /usr/lib/aarch64-linux-gnu && "
        "ln -sf openblas-openmp/libopenblas.so.0 libarmpl_lp64_mp.so && "
        "ln -sf liblapacke.so.3 libamath.so && ln -sf libm.so.6 libastring.so"),
}
# MXNet parses these itself, and ends the process where it cannot.
WHOLE_NUMBERS = ("OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS", "MXNET_CPU_WORKER_NTHREADS")
JOB = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")


def version(distribution):
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_environment():
    """Raise an `InputError` for environment variables with which MXNet would abort."""
    for name in WHOLE_NUMBERS:
        value = os.environ.get(name, "")
        if value and not re.fullmatch(r"[+-]?\d{1,9}", value.strip(), re.ASCII):
            raise InputError(f"{name}: MXNet expects a whole number, found {value!r}; set one, or "
                             f"run: unset {name}")
    role, missing = os.environ.get("DMLC_ROLE"), [name for name in JOB if name not in os.environ]
    if role is not None and missing:
        raise InputError(f"DMLC_ROLE is {role!r}, as in a distributed job, but {missing[0]} is not "
                         "set; use python -m mlp_mx.launch, or run: unset DMLC_ROLE")


def explain(error):
    """Say what `error`, raised by ``import mxnet``, comes from and what mends it.

    Returns
    -------
    str
        One line.
    """
    name = getattr(error, "name", None)
    library = re.match(r"(lib[\w+.-]*?\.so[.\d]*): cannot open shared object", str(error))
    if name == "numpy" and isinstance(error, ModuleNotFoundError):
        return f"NumPy is not installed; run: {pip(INSTALL_PACKAGE)}"
    if _has_changed("numpy"):
        return (f"NumPy {_loaded('numpy')} is loaded, and {version('numpy')} has been installed "
                "since; restart the kernel, or Python")
    if name == "mxnet":
        return ("it is not installed (there are wheels for Linux on x86_64 and aarch64, and for "
                f"macOS on x86_64); run: {pip(INSTALL)}")
    if isinstance(error, ModuleNotFoundError):
        return f"the package {name} is not installed; run: {pip(INSTALL_PACKAGE)}"
    if library:
        return _explain_library(library[1])
    return " ".join(f"{type(error).__name__}: {error}".split())


def _loaded(package):
    return getattr(sys.modules.get(package), "__version__", None)


def _has_changed(package):
    """Whether a package that is loaded has been replaced by another version since."""
    return None not in (_loaded(package), version(package)) and _loaded(package) != version(package)


def _explain_library(name):
    if name == "libcuda.so.1":
        return ("this is MXNet's GPU wheel, and NVIDIA's driver is not installed (libcuda.so.1); "
                f"install it, or, for the CPU, run: {pip(INSTALL_CPU)}")
    if name in cuda.SONAMES:
        return f"CUDA's {name} is missing, which MXNet's GPU wheel needs; run: {pip(INSTALL_GPU)}"
    machine = platform.machine()
    missing = [other for other in SYSTEM_LIBRARIES.get(machine, ()) if not _loads(other)]
    if name not in missing:  # loaded since, or not among those that we know
        return f"the system library {name} is missing"
    noun = "libraries" if len(missing) > 1 else "library"
    verb = "are" if len(missing) > 1 else "is"
    return (f"the system {noun} {', '.join(missing)} {verb} missing; "
            f"on Debian and Ubuntu, run: {_as_root(DEBIAN[machine])}")


def _loads(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _as_root(command):
    return command if os.geteuid() == 0 else f"sudo sh -c {shlex.quote(command)}"


def pip(command):
    """A command of pip's, in a new virtual environment where pip refuses to touch the system's."""
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix == sys.base_prefix and os.path.exists(marker):
        venv = "python3 -m venv ~/mlp_mx && . ~/mlp_mx/bin/activate"
        install = INSTALL_PACKAGE if command != INSTALL_PACKAGE else ""
        return " && ".join(filter(None, [venv, install, command]))
    return command

"""Why MXNet does not load, and the command that fixes it on this machine.

Nothing here needs NumPy or any other package.
"""

import importlib.util
import os
import platform
import re
import shlex
import sys
import sysconfig

from . import cuda

__all__ = ["INSTALL_GPU", "INSTALL_PACKAGE", "complain_of_package", "explain", "pip", "version"]

DEPENDENCIES = ("numpy", "matplotlib", "PIL", "tqdm", "requests")
# MXNet's metadata requires NumPy 1, so pip must not look at them; the other packages that MXNet
# needs are in this package's metadata.
INSTALL = "pip install --no-deps mxnet==1.9.1"
INSTALL_PACKAGE = "pip install ."
# The CPU and the GPU wheel overwrite each other's files, so the one wanted is installed last.
INSTALL_CPU = "pip install --force-reinstall --no-deps mxnet==1.9.1"
INSTALL_GPU = (
    "pip install '.[cu117]' && pip install --force-reinstall --no-deps mxnet-cu117==1.9.1")
# By machine: the system libraries that the wheel needs, and how Debian and Ubuntu get them. Arm's
# wheel needs the Arm Performance Libraries; no package has them, but these have what MXNet calls.
SYSTEM_LIBRARIES = {
    "x86_64": ("libgomp.so.1", "libquadmath.so.0"),
    "aarch64": ("libgomp.so.1", "libarmpl_lp64_mp.so", "libamath.so", "libastring.so"),
}
DEBIAN = {
    "x86_64": "apt-get update && apt-get install -y libgomp1 libquadmath0",
    "aarch64": (
        "apt-get update && apt-get install -y libgomp1 libopenblas0-openmp liblapacke && "
        "cd /usr/lib/aarch64-linux-gnu && "
        "ln -sf openblas-openmp/libopenblas.so.0 libarmpl_lp64_mp.so && "
        "ln -sf liblapacke.so.3 libamath.so && ln -sf libm.so.6 libastring.so"),
}


def version(distribution):
    """The installed version of a distribution, or None."""
    from importlib import metadata  # which takes as long to import as the rest of `runtime`

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def explain(error):
    """Say in one line why ``import mxnet`` raised `error`, and what fixes it."""
    name, library = getattr(error, "name", None), missing_library(error)
    loaded = getattr(sys.modules.get("numpy"), "__version__", None)
    installed = version("numpy")
    if loaded and installed and loaded != installed:
        return (f"NumPy {loaded} is loaded, and {installed} has been installed since; restart the "
                "kernel, or Python")
    if name == "mxnet":
        return ("it is not installed (there are wheels for Linux on x86_64 and aarch64, and for "
                f"macOS on x86_64); run: {pip(INSTALL)}")
    if isinstance(error, ModuleNotFoundError):
        wheels = ("mxnet", "mxnet-cu117", "mxnet-cu112")
        has_mxnet = any(map(version, wheels))
        command = INSTALL_PACKAGE if has_mxnet else f"{INSTALL_PACKAGE} && {INSTALL}"
        return f"the package {name} is not installed; run: {pip(command)}"
    if library == "libcuda.so.1":
        return ("this is MXNet's GPU wheel, and NVIDIA's driver is not installed (libcuda.so.1); "
                f"install it, or, for the CPU, run: {pip(INSTALL_CPU)}")
    if library in cuda.LIBRARIES:
        return f"MXNet's GPU wheel needs CUDA's {library}; run: {pip(INSTALL_GPU)}"
    if library in SYSTEM_LIBRARIES.get(platform.machine(), ()):
        return (f"the system library {library} is missing; on Debian and Ubuntu, run: "
                f"{_as_root(DEBIAN[platform.machine()])}")
    if library:
        return f"the system library {library} is missing"
    return " ".join(f"{type(error).__name__}: {error}".split())


def missing_library(error):
    """The shared library that the dynamic linker did not find, or None."""
    match = re.match(r"(lib[\w+.-]*?\.so[.\d]*): cannot open shared object", str(error))
    return match and match[1]


def _as_root(command):
    return command if os.geteuid() == 0 else f"sudo sh -c {shlex.quote(command)}"


def pip(command):
    """Return a pip command, in a new virtual environment if the system's Python has no pip.

    Debian and Ubuntu have neither pip nor what makes environments, unless somebody installs them.
    """
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    has_pip = importlib.util.find_spec("pip") and not os.path.exists(marker)
    if sys.prefix != sys.base_prefix or has_pip:
        return command
    steps = ["python3 -m venv .venv", ". .venv/bin/activate"]
    if not importlib.util.find_spec("ensurepip"):
        steps.insert(0, _as_root("apt-get update && apt-get install -y python3-venv"))
    if not command.startswith(INSTALL_PACKAGE):
        steps.append(INSTALL_PACKAGE)
    return " && ".join([*steps, command])


def complain_of_package(kind, error, traceback):
    """``sys.excepthook`` for a command: report a missing package in one line."""
    if kind is ModuleNotFoundError and error.name in DEPENDENCIES:
        print(f"error: {explain(error)}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)

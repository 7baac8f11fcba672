"""``python -m mlp_mx.runtime``: run old code unedited, or report what this machine has and lacks.

With arguments, this process becomes the Python that runs them, in an environment that is
`inherited` by what it starts.
"""

import importlib.util
import itertools
import os
import platform
import re
import subprocess
import sys

from .._support import cli, mnist_files
from .._support.errors import Error, InputError
from .._version import __version__
from . import _gpus, blas, diagnosis, inherited, load

PACKAGES = ("NumPy", "Matplotlib", "Pillow", "tqdm", "requests")


def describe():
    """Return what a bug report needs to say about this machine: a dict from headings to facts."""
    features = [name for name in ("avx", "avx2", "fma", "avx512f") if name in blas.cpu_features()]
    versions = {name: diagnosis.version(name) for name in PACKAGES}
    mxnet, missing = _describe_mxnet(), [name for name in PACKAGES if not versions[name]]
    if missing:  # one command installs all of them, and is printed once
        mxnet["MXNet"] = mxnet["MXNet"].partition("; run:")[0]
        error = ModuleNotFoundError(name=missing[0])
        mxnet["to install"] = diagnosis.explain(error).partition("; run: ")[2]
    return {
        "mlp_mx": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "CPU": f"{os.cpu_count()} cores; {' '.join(features) or 'features unknown'}",
        **{name: version or "not installed" for name, version in versions.items()},
        **mxnet,
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
        folder = mnist_files.folder()
    except Error as error:
        return {"data directory": f"not examined: {error}"}
    return {"data directory": str(folder),
            **{f"  {name}": state for name, state in mnist_files.status(folder).items()}}


def _parser():
    return cli.ArgumentParser(
        prog="python -m mlp_mx.runtime", formatter_class=cli.RawHelp,
        usage="%(prog)s [-h | --version]\n"
        "       %(prog)s [option] ... [-c cmd | -m mod | file | -] [arg] ...",
        description="Without arguments, report what this machine has, what is wrong, and how to "
        "fix it. With\narguments as for python, run old code unedited: it, and all processes that "
        "it starts, can\nimport MXNet and use old names such as np.float.")


def run(arguments):
    """Become ``python *arguments``; does not return."""
    if sys.flags.ignore_environment or _has_isolating_option(arguments):
        raise InputError("omit Python's options -E and -I; with them, the processes that it starts "
                         "do not find MXNet")
    if not importlib.util.find_spec("mxnet"):  # else importing it says what is wrong
        reason = diagnosis.explain(ModuleNotFoundError(name="mxnet"))
        cli.complain(f"warning: MXNet cannot be loaded: {reason}")
    options = subprocess._args_from_interpreter_flags()  # as multiprocessing passes them on
    os.execve(sys.executable, [sys.executable, *options, *arguments], inherited(os.environ))


def _has_isolating_option(arguments):
    """Whether -E or -I, perhaps with other letters, is among the options before what is run."""
    options = itertools.takewhile(lambda word: re.match("-[a-zA-Z]", word), arguments)
    return any(re.match("-[^WXcm]*[EI]", word) for word in options)


@cli.command
def main(argv=None):
    """Print what `describe` finds, or `run` the arguments."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments and arguments[0] not in ("-h", "--help", "--version"):
        run(arguments)
    _parser().parse_args(arguments)
    for heading, fact in describe().items():
        print(f"{heading + ':':<30} {fact}")


if __name__ == "__main__":
    sys.exit(main())

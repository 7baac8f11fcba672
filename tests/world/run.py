"""Other people's packages built on MXNet, doing real jobs under ``python -m mlp_mx.runtime``.

    python tests/world/run.py [package ...]

Installs each into an environment of its own, beside NumPy as new as this Python has it, runs the
job of that name in this folder, and prints a row for docs/runtime.rst.
"""

import pathlib
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
# Without what their metadata requires (old NumPy, say), and with what the job needs.
PACKAGES = {
    "d2l": ("d2l==0.17.6", "ipython pandas"),
    "gluoncv": ("gluoncv==0.10.5.post0", "portalocker yacs scipy"),
    "gluonnlp": ("gluonnlp==0.10.0", ""),
    "gluonts": ("gluonts==0.16.0", "pandas pydantic toolz typing-extensions"),
}


def run(package):
    """Install a package, and run its job; return whether that succeeded."""
    requirement, others = PACKAGES[package]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        for words in ([*others.split(), str(HERE.parents[1])], ["--no-deps", requirement],
                      ["--no-deps", "mxnet==1.9.1"]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True)
        versions = subprocess.check_output(
            [python, "-c", "import numpy, sys; print('%d.%d' % sys.version_info[:2], "
             "numpy.__version__)"], text=True).split()
        ended = subprocess.run([python, "-W", "ignore", "-m", "mlp_mx.runtime",
                                HERE / f"{package}_job.py"], stdout=subprocess.PIPE, text=True)
    print(requirement, *versions, ended.stdout.strip() or "failed", sep="  ", flush=True)
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(not all([run(package) for package in sys.argv[1:] or PACKAGES]))

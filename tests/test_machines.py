"""A read-only data directory shared by many, a locked home folder, and the container."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from mlp_mx.data import mnist
from mlp_mx.runtime import diagnosis

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# A process of root may write everywhere, unless it gives that up.
AS_A_USER = [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.mark.slow
def test_training_reads_a_shared_folder_that_nobody_can_write_to(tmp_path, mnist_dir):
    if AS_A_USER and not shutil.which("setpriv"):
        pytest.skip("root can write everywhere, and there is no setpriv")
    home, work, shared = (tmp_path / name for name in ("home", "work", "shared"))
    for folder in (home, work, shared):
        folder.mkdir()
    for name in mnist.FILES:
        shutil.copyfile(mnist_dir / name, shared / name)
        (shared / name).chmod(0o444)
    home.chmod(0o555)
    shared.chmod(0o555)
    result = subprocess.run(
        [*AS_A_USER, sys.executable, "-m", "mlp_mx.train", "--epochs", "1", "--dataset", "mnist",
         "--save", "model.npz"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": REPOSITORY, "HOME": str(home),
             "MLP_MX_DATA": str(shared)},
        cwd=work, capture_output=True, text=True, timeout=300,
    )
    shared.chmod(0o755)  # so that pytest can remove it
    assert (result.returncode, result.stderr) == (0, "")
    assert "MNIST test accuracy after epoch 0: 0.8" in result.stdout
    assert sorted(path.name for path in shared.iterdir()) == sorted(mnist.FILES)
    assert (work / "model.npz").exists()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_dockerfile_does_what_the_runtime_advises(machine):
    with open(os.path.join(REPOSITORY, "Dockerfile"), encoding="utf-8") as file:
        lines = re.findall("^RUN (.*)", file.read().replace("\\\n", " "), re.M)
    dockerfile = " ".join(" ".join(lines).split())
    install, *links = re.sub("^.* install -y ", "", diagnosis.DEBIAN[machine]).split(" && ")
    assert all(re.search(rf"\b{package}\b", dockerfile) for package in install.split())
    assert all(command in dockerfile for command in links)
    assert diagnosis.INSTALL.replace("install", "install --no-cache-dir") in dockerfile

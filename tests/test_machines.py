"""Containers, classrooms with one read-only data directory, and locked home folders."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from mlp_mx.data import mnist
from mlp_mx.runtime import diagnosis

pytestmark = pytest.mark.slow

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# A process of root may write everywhere, unless it gives that up.
AS_A_USER = [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture
def student(tmp_path):
    """Run the command for training as someone who can write to no folder but the working one."""
    if AS_A_USER and not shutil.which("setpriv"):
        pytest.skip("root can write everywhere, and there is no setpriv")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(mode=0o555)
    work.mkdir()

    def run(*options, **environment):
        return subprocess.run(
            [*AS_A_USER, sys.executable, "-m", "mlp_mx.train", "--epochs", "1", *options],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": REPOSITORY, "HOME": str(home),
                 "MPLCONFIGDIR": str(work), **environment},
            cwd=work, capture_output=True, text=True, timeout=300,
        )

    return run


@pytest.fixture
def shared_folder(tmp_path, mnist_dir):
    """MNIST's four files in a folder without write bits, as a teacher would set it up."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in mnist.FILES:
        shutil.copyfile(mnist_dir / name, folder / name)
        (folder / name).chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)  # so that pytest can remove it


def test_training_reads_a_shared_folder_that_nobody_can_write_to(student, shared_folder):
    result = student("--dataset", "mnist", "--save", "model.npz", MLP_MX_DATA=str(shared_folder))
    assert (result.returncode, result.stderr) == (0, "")
    assert "MNIST test accuracy after epoch 0: 0.8" in result.stdout
    assert sorted(path.name for path in shared_folder.iterdir()) == sorted(mnist.FILES)


def test_training_needs_no_folder_to_keep_glyphs_in(student):
    result = student("--dataset", "glyphs")
    assert result.returncode == 0
    assert "warning: glyphs cannot be saved in" in result.stderr
    assert "Permission denied" in result.stderr
    assert "glyphs test accuracy after epoch 0" in result.stdout


def _dockerfile():
    """The commands of the Dockerfile's RUN lines, all blanks alike."""
    with open(os.path.join(REPOSITORY, "Dockerfile"), encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    return " ".join(" ".join(re.findall("^RUN (.*)", text, re.M)).split())


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_dockerfile_does_what_the_runtime_advises(machine):
    dockerfile = _dockerfile()
    install, *links = re.sub("^.* install -y ", "", diagnosis.DEBIAN[machine]).split(" && ")
    assert all(re.search(rf"\b{package}\b", dockerfile) for package in install.split())
    assert all(command in dockerfile for command in links)
    assert diagnosis.INSTALL.replace("install", "install --no-cache-dir") in dockerfile

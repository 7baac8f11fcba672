"""``python -m mlp_mx.train`` as its users meet it."""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import pytest

import small_run
from mlp_mx import checkpoint
from mlp_mx.data import mnist
from mlp_mx.train import __main__ as train_command

ROOT = pathlib.Path(__file__).parents[1]


# A process of root may write everywhere, unless it gives that up.
AS_A_USER = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def test_a_run_with_a_home_and_data_that_nobody_can_write_to(tmp_path, mnist_dir):
    home, work, shared = folders = [tmp_path / name for name in ("home", "work", "shared")]
    for folder in folders:
        folder.mkdir()
    for name in mnist.FILES:
        shutil.copyfile(mnist_dir / name, shared / name)
        (shared / name).chmod(0o444)
    home.chmod(0o555)
    shared.chmod(0o555)
    result = subprocess.run(
        [*(AS_A_USER if os.geteuid() == 0 and shutil.which("setpriv") else []),
         sys.executable, "-m", "mlp_mx.train", "--epochs", "1", "--data-dir", shared,
         "--ctx", "cpu", "--save", "model.npz"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)},
        cwd=work, capture_output=True, text=True, timeout=300)
    shared.chmod(0o755)  # so that pytest can remove it
    assert re.fullmatch(
        r"MNIST: 60000 training and 10000 test examples, on cpu\(0\)\n"
        r"Epoch 0\. Loss: \d\.\d+, Train_acc 0\.\d+, Test_acc 0\.\d+\n"
        r"MNIST test accuracy after epoch 0: 0\.8\d{3} "
        r"\(published for the chapter's settings: 0\.8787 and 0\.8877\)\n"
        r"saved as model.npz\n", result.stdout)
    assert (result.returncode, result.stderr) == (0, "")  # no bar where there is no terminal
    assert sorted(path.name for path in shared.iterdir()) == sorted(mnist.FILES)
    assert (work / "model.npz").exists()


def test_help_names_every_default(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        train_command.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"(default: {value})" in text for value in train_command.DEFAULTS.values())


def test_diverging_training_ends_with_exit_code_1(capsys, few_glyphs):
    assert train_command.main(["--learning-rate", "1e6", "--dataset", "glyphs"]) == 1
    assert re.fullmatch(r"error: the loss is not finite in epoch 0, batch \d+: .*\n",
                        capsys.readouterr().err)


def test_a_closed_pipe_ends_the_run_without_a_traceback_and_keeps_the_model(tmp_path):
    command = [*small_run.COMMAND, "--epochs", "1000", "--save", tmp_path / "model.npz"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as training:
        for _ in range(2):  # what is trained on what, and an epoch
            training.stdout.readline()
        training.stdout.close()
        assert training.wait(timeout=30) == 1
        assert training.stderr.read() == b""
    assert checkpoint.load(tmp_path / "model.npz")[1]["epoch"] >= 0


@pytest.mark.parametrize("line", [
    "export absent.npz a.onnx 2>/dev/full", "export absent.npz a.onnx 2>&-",
    "train --epochs 0 2>/dev/full", "train --epochs 0 2>&-"])
def test_messages_that_nobody_can_read_change_nothing(line):
    result = subprocess.run(f"{sys.executable} -m mlp_mx.{line}", shell=True,
                            stdout=subprocess.PIPE, timeout=60)
    assert (result.returncode, result.stdout) == (2, b"")


def test_a_terminal_gets_a_progress_bar():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [*small_run.COMMAND, "--epochs", "1", "--batch-size", "32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(ours, 10000):
                shown += part
    os.close(ours)
    assert re.search(rb"epoch 0: +\d+%.*/21 ", shown)

"""``python -m mlp_mx.train`` as its users meet it."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

import small_run
from mlp_mx import checkpoint
from mlp_mx.train import __main__ as train_command

EPOCH = r"Epoch 0\. Loss: \d\.\d+, Train_acc 0\.\d+, Test_acc 0\.\d+\n"


def test_main_prints_the_chapters_line_and_the_published_result(capsys, mnist_dir):
    assert train_command.main(["--epochs", "1", "--data-dir", str(mnist_dir), "--ctx", "cpu"]) == 0
    printed, errors = capsys.readouterr()
    assert re.fullmatch(
        r"MNIST: 60000 training and 10000 test examples, on cpu\(0\)\n" + EPOCH +
        r"MNIST test accuracy after epoch 0: 0\.\d{4} "
        r"\(published for the chapter's settings: 0\.8787 and 0\.8877\)\n", printed)
    assert errors == ""  # no bar where there is no terminal


def test_help_names_every_default(capsys):
    with pytest.raises(SystemExit) as exit:
        train_command.main(["--help"])
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for default in train_command.DEFAULTS.values():
        assert f"(default: {default})" in text


def test_diverging_training_ends_with_exit_code_1(capsys, few_glyphs):
    assert train_command.main(["--learning-rate", "1e6", "--dataset", "glyphs"]) == 1
    assert re.fullmatch(r"error: the loss is not finite in epoch 0, batch \d+: .*\n",
                        capsys.readouterr().err)


def test_a_closed_pipe_ends_the_run_without_a_traceback_and_keeps_the_model(tmp_path):
    command = [*small_run.COMMAND, "--epochs", "1000", "--save", tmp_path / "model.npz"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as training:
        for _ in range(2):  # what is trained on what, and an epoch
            training.stdout.readline()
        training.stdout.close()
        assert training.wait(timeout=30) == 1
        assert training.stderr.read() == ""
    assert checkpoint.load(tmp_path / "model.npz")[1]["epoch"] >= 0


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize("line", ["export absent.npz a.onnx", "train --epochs 0"])
def test_messages_that_nobody_can_read_change_nothing(line, redirected):
    result = subprocess.run(f"{sys.executable} -m mlp_mx.{line} {redirected}", shell=True,
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

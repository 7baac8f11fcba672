"""``python -m mlp_mx.train`` as its users meet it."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

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


BAD_OPTIONS = [
    ("--epochs 0", "expected a whole number from 1 to 1000000, found '0'"),
    ("--epochs 1.5", "found '1.5'"),
    ("--batch-size -1", "argument --batch-size: expected a whole number"),
    ("--learning-rate nan", "argument --learning-rate: expected a number"),
    ("--learning-rate inf", "found 'inf'"),
    ("--learning-rate 0", "found '0'"),
    ("--num-hidden many", "found 'many'"),
    ("--num-hidden 1000000000", "from 1 to 16384"),
    ("--weight-scale -0.1", "expected a number from 0"),
    ("--seed 4294967296", "from 0 to 4294967295"),
    ("--ctx tpu", "expected a context"),
    ("--dataset cifar", "invalid choice: 'cifar'"),
    ("--data-dir /dev/null", "Not a directory"),
    ("--epoch 1", "unrecognized arguments"),  # no abbreviations
]


@pytest.mark.parametrize("options, complaint", BAD_OPTIONS)
def test_bad_options_get_one_line_and_exit_code_2(capsys, options, complaint):
    try:
        code = train_command.main(options.split())
    except SystemExit as exit:  # argparse's way out
        code = exit.code
    printed, errors = capsys.readouterr()
    assert (code, printed) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1 and complaint in errors


def test_help_names_every_default(capsys):
    with pytest.raises(SystemExit) as exit:
        train_command.main(["--help"])
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for default in ("auto", "10", "64", "0.001", "256", "0.01", "0"):
        assert f"(default: {default})" in text


def test_diverging_training_ends_with_exit_code_1(capsys, mnist_dir):
    assert train_command.main(["--learning-rate", "10", "--data-dir", str(mnist_dir)]) == 1
    assert re.fullmatch(r"error: the loss is not finite in epoch 0, batch \d+: .*\n",
                        capsys.readouterr().err)


@pytest.fixture
def training(mnist_dir):
    """A long run in a process of its own."""
    command = [sys.executable, "-m", "mlp_mx.train", "--epochs", "1000", "--data-dir", mnist_dir]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_ctrl_c_gets_one_line_and_exit_code_130(training):
    training.stdout.readline()
    training.send_signal(signal.SIGINT)
    assert training.wait(timeout=30) == 130
    assert training.stderr.read() == "interrupted\n"


def test_a_closed_pipe_ends_the_run_without_a_traceback(training):
    training.stdout.close()
    assert training.wait(timeout=30) == 1
    assert training.stderr.read() == ""


def test_what_was_trained_is_saved_where_nobody_reads(mnist_dir, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "mlp_mx.train", "--save-every", "5", "--data-dir", mnist_dir,
         "--save", tmp_path / "model.npz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (1, b"")
    assert checkpoint.load(tmp_path / "model.npz")[1]["epoch"] == 0


def test_a_terminal_gets_a_progress_bar(mnist_dir):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [sys.executable, "-m", "mlp_mx.train", "--epochs", "1", "--data-dir", mnist_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(ours, 10000):
                shown += part
    os.close(ours)
    assert re.search(rb"epoch 0: +\d+%.*/938 ", shown)

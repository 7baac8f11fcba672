"""``python -m mlp_mx.train`` as its users meet it."""

import contextlib
import fcntl
import os
import pathlib
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

SMALL_RUN = pathlib.Path(__file__).with_name("small_run.py")
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
    for default in train_command.DEFAULTS.values():
        assert f"(default: {default})" in text
    for action in train_command._parser()._actions:
        assert action.help and set(action.option_strings) <= set(text.replace(",", " ").split())


def test_diverging_training_ends_with_exit_code_1(capsys, few_glyphs):
    assert train_command.main(["--learning-rate", "1e6", "--dataset", "glyphs"]) == 1
    assert re.fullmatch(r"error: the loss is not finite in epoch 0, batch \d+: .*\n",
                        capsys.readouterr().err)


@pytest.fixture
def training(tmp_path):
    """A long run in a process of its own."""
    command = [sys.executable, SMALL_RUN, "--epochs", "100000", "--save", tmp_path / "model.npz"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(2):  # what is trained on what, and an epoch
            process.stdout.readline()
        yield process
        process.kill()


def test_ctrl_c_gets_one_line_and_exit_code_130(training):
    training.send_signal(signal.SIGINT)
    assert training.wait(timeout=30) == 130
    assert re.match(r"interrupted; epoch \d+ is lost; .*\n$", training.stderr.read())


def test_a_closed_pipe_ends_the_run_without_a_traceback_and_keeps_the_model(training, tmp_path):
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
    command = [sys.executable, SMALL_RUN, "--epochs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(ours, 10000):
                shown += part
    os.close(ours)
    assert re.search(rb"epoch 0: +\d+%.*/11 ", shown)

"""Signals: deferred while a command works in steps, and left to Python everywhere else."""

import os
import signal
import subprocess
import sys
import warnings

import pytest

from mlp_mx._support import cli, signals
from mlp_mx._support.progress import steps

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def send(signum):
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum, code", SIGNALS)
def test_a_signal_waits_for_the_next_step(capsys, signum, code):
    handler = signal.getsignal(signum)
    reached = []

    @cli.command
    def main(argv):
        for step in steps(range(5)):
            reached.append(step)
            if step == 2:
                send(signum)
            reached.append("end")

    assert main() == code
    assert reached == [0, "end", 1, "end", 2, "end"]
    assert capsys.readouterr().err == f"{signals.MEANINGS[signum]}\n"
    assert list(steps(range(3))) == [0, 1, 2]  # it is over
    assert signal.getsignal(signum) == handler


@pytest.mark.parametrize("signum, code", SIGNALS)
def test_a_signal_ends_at_once_what_has_no_steps(signum, code):
    @cli.command
    def main(argv):
        send(signum)
        pytest.fail("not interrupted")

    assert main() == code


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_wait(first):
    @cli.command
    def main(argv):
        with signals.deferred():
            send(first)
            reached.append("first")
            send(signal.SIGINT)
            reached.append("second")

    reached = []
    assert main() == 128 + first
    assert reached == ["first"]


@pytest.mark.parametrize("signum, code", SIGNALS[1:])
def test_a_doubled_signal_is_one(signum, code):
    """As programs such as timeout send it."""
    @cli.command
    def main(argv):
        with signals.deferred():
            send(signum)
            send(signum)
            reached.append("end")

    reached = []
    assert main() == code
    assert reached == ["end"]


def test_an_interrupt_that_a_destructor_drops_is_not_lost(capsys):
    class Array:
        def __del__(self):
            send(signal.SIGINT)
            for _ in range(1000):  # the handler runs here, and Python drops what it raises
                pass

    @cli.command
    def main(argv):
        Array()
        for _ in steps(range(3)):
            pytest.fail("not interrupted")

    assert main() == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_the_parent_ignores_stays_ignored(signum):
    """SIGINT for jobs in the background, SIGHUP after nohup."""
    result = subprocess.run(
        [sys.executable, "-c",
         "import os, sys; from mlp_mx._support import cli\n"
         "sys.exit(cli.command(lambda argv: os.kill(os.getpid(), int(sys.argv[1])))())",
         str(int(signum))],
        preexec_fn=lambda: signal.signal(signum, signal.SIG_IGN), capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_signal_in_an_exec_gets_its_own_exit_code(python):
    """Python itself would end with SIGINT after a KeyboardInterrupt in one."""
    result = python("-c", "import os, sys; from mlp_mx._support import cli\n"
                    "sys.exit(cli.command(lambda argv: exec('os.kill(os.getpid(), 15)'))())")
    assert (result.returncode, result.stderr) == (143, "terminated\n")


def test_outside_commands_python_handles_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        for _ in steps(range(3)):
            send(signal.SIGINT)
            pytest.fail("not interrupted")


def test_warnings_are_printed_even_where_they_are_errors(capsys):
    @cli.command
    def main(argv):
        warnings.warn("something the user should know")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main() == 0
    assert capsys.readouterr().err == "warning: something the user should know\n"

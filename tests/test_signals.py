"""Signals: deferred while a command works in steps, and left to Python everywhere else."""

import os
import signal
import warnings

import pytest

from mlp_mx._support import cli, signals
from mlp_mx._support.progress import steps


def send(signum):
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum, code, meaning", [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 129, "terminal closed"),
])
def test_a_signal_waits_for_the_next_step_and_ends_at_once_what_has_none(
    capsys, signum, code, meaning
):
    handler = signal.getsignal(signum)
    reached = []

    @cli.command
    def with_steps(argv):
        for step in steps(range(5)):
            reached.append(step)
            if step == 2:
                send(signum)
            reached.append("end")

    @cli.command
    def without(argv):
        send(signum)
        pytest.fail("not interrupted")

    assert with_steps() == code
    assert reached == [0, "end", 1, "end", 2, "end"]
    assert list(steps(range(3))) == [0, 1, 2]  # it is over
    assert without() == code
    assert capsys.readouterr().err == 2 * f"{meaning}\n"
    assert signal.getsignal(signum) == handler


@pytest.mark.parametrize("first, second, reached", [
    (signal.SIGINT, signal.SIGINT, ["first"]),
    (signal.SIGTERM, signal.SIGINT, ["first"]),
    (signal.SIGTERM, signal.SIGTERM, ["first", "second"]),  # as programs such as timeout send it
    (signal.SIGHUP, signal.SIGHUP, ["first", "second"]),
])
def test_only_ctrl_c_does_not_wait_as_a_second_signal(first, second, reached):
    found = []

    @cli.command
    def main(argv):
        with signals.deferred():
            send(first)
            found.append("first")
            send(second)
            found.append("second")

    assert main() == 128 + first
    assert found == reached


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
    previous = signal.signal(signum, signal.SIG_IGN)
    try:
        assert cli.command(lambda argv: send(signum))() == 0
    finally:
        signal.signal(signum, previous)


def test_outside_commands_ctrl_c_interrupts_between_two_steps():
    seen = []
    with pytest.raises(KeyboardInterrupt):
        for step in steps(range(3)):
            seen.append(step)
            send(signal.SIGINT)
            seen.append("whole")
    assert seen == [0, "whole"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        for _ in steps(range(3)):
            send(signal.SIGINT)
            send(signal.SIGINT)
            pytest.fail("a second one interrupts at once")


def test_warnings_are_printed_even_where_they_are_errors(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cli.command(lambda argv: warnings.warn("the user should know"))() == 0
    assert capsys.readouterr().err == "warning: the user should know\n"

"""Environment variables that MXNet reads: wrong ones end the process, or make it wait forever.

Nothing here needs NumPy or any other package.
"""

import os
import re
import signal
import socket
import threading
import time

from .._support.errors import Error, InputError

__all__ = ["START", "check", "join_job"]

# MXNet parses these itself, and aborts the process if it cannot.
WHOLE_NUMBERS = ("OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS", "MXNET_CPU_WORKER_NTHREADS")
JOB = {"DMLC_PS_ROOT_PORT": 2**16 - 1, "DMLC_NUM_WORKER": 2**31 - 1, "DMLC_NUM_SERVER": 2**31 - 1}
ROLES = ("scheduler", "server", "worker")
START = 60  # seconds within which a job's scheduler must answer
QUIET = 10  # seconds after which a process says that it waits


def check():
    """Raise an `InputError` for variables that would make MXNet abort."""
    for name in WHOLE_NUMBERS:
        value = os.environ.get(name, "")
        if value and not re.fullmatch(r"0*[1-9]\d{0,8}", value.strip(), re.ASCII):
            raise InputError(f"{name}: MXNet expects a whole number of at least 1, found "
                             f"{value!r}; change it, or run: unset {name}")
    if "DMLC_ROLE" in os.environ:
        _check_job(os.environ)


def _check_job(environ):
    role = environ["DMLC_ROLE"]
    cure = "; use python -m mlp_mx.launch, or, outside a job, run: unset DMLC_ROLE"
    if role not in ROLES:
        raise InputError(f"DMLC_ROLE: expected {', '.join(ROLES)}, found {role!r}{cure}")
    for name in ("DMLC_PS_ROOT_URI", *JOB):
        if not environ.get(name):
            raise InputError(
                f"DMLC_ROLE is {role!r}, as in a distributed job, but {name} is not set{cure}")
    for name, maximum in JOB.items():
        value = environ[name]
        if not re.fullmatch(r"\d{1,10}", value, re.ASCII) or not 1 <= int(value) <= maximum:
            raise InputError(f"{name}: expected a whole number from 1 to {maximum}, found "
                             f"{value!r}{cure}")


def join_job():
    """Wait for a job's scheduler: MXNet itself would wait forever, and ignore signals.

    Returns once the scheduler answers. A scheduler or a server serves while it imports MXNet, and
    does nothing else, so signals end it at once.

    Raises
    ------
    Error
        If the scheduler does not answer for `START` seconds.
    """
    role = os.environ.get("DMLC_ROLE")
    if role in ("worker", "server"):
        _wait_for((os.environ["DMLC_PS_ROOT_URI"], int(os.environ["DMLC_PS_ROOT_PORT"])), role)
    if role in ("scheduler", "server") and threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)


def _wait_for(address, role):
    from .._support.cli import complain  # here, because few processes wait

    start, said = time.monotonic(), False
    place = "{}:{}".format(*address)
    while True:
        try:
            return socket.create_connection(address, timeout=2).close()
        except (OSError, UnicodeError) as error:  # the latter of names that no host can have
            reason, waited = getattr(error, "strerror", None) or error, time.monotonic() - start
        if waited > START:
            raise Error(f"DMLC_ROLE is {role!r}, but the job's scheduler has not answered at "
                        f"{place} for {START} seconds ({reason}); start it, or, outside a job, "
                        "run: unset DMLC_ROLE")
        if waited > QUIET and not said:
            complain(f"waiting for the scheduler at {place}, since DMLC_ROLE is {role!r}")
            said = True
        time.sleep(0.1)

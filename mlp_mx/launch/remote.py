"""``python -m mlp_mx.launch.remote COMMAND…``: at the other end of a launcher's ssh.

Runs the command while the launcher gives a sign of life on standard input every few seconds. If the
connection ends, or nothing comes for a while, as when a cable is unplugged, it ends the command.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

from . import own_address
from .processes import POLL, exit_code, send, start
from .._support import cli

SILENCE = 20  # seconds
GRACE = 2  # seconds, less than the launcher's


@cli.command
def main(argv=None):
    """Run the command, and return its exit code."""
    os.environ["DMLC_NODE_HOST"] = own_address(os.environ["DMLC_PS_ROOT_URI"])
    process = start(sys.argv[1:] if argv is None else argv, stdin=subprocess.DEVNULL)
    try:
        _watch(process)
        send(signal.SIGTERM, process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        send(signal.SIGKILL, process)
    return exit_code(process.wait())


def _watch(process):
    """Wait until the process has ended, or the launcher gives no sign of life any more."""
    heard = time.monotonic()
    while process.poll() is None and time.monotonic() < heard + SILENCE:
        if select.select([sys.stdin], [], [], POLL)[0]:
            if not os.read(sys.stdin.fileno(), 4096):
                return
            heard = time.monotonic()


if __name__ == "__main__":
    sys.exit(main())

"""How jobs end on real engines: five cases each, by local processes, mpirun and srun.

    python tests/engines/run.py [ENGINE...]

Needs what `hosts` needs, and MNIST in ``MLP_MX_DATA``. Prints a line for each case: the exit code,
the seconds until the launcher had ended and until nothing of the job was left on any host, and its
last message. Exits with 1 if a promise of docs/distributed.rst was broken.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import hosts

TRAIN = ["python", "-m", "mlp_mx.train", "--dataset", "mnist", "--batch-size", "1000"]
LAUNCH = [sys.executable, "-m", "mlp_mx.launch"]
KEEPALIVE = [word for name, seconds in (("time", 5), ("intvl", 5), ("probes", 3))
             for word in ("--mca", f"oob_tcp_keepalive_{name}", str(seconds))]
SECONDS = {"train": 15, "unplugged host": 30}  # that a job may take to end; others 15, too


def command(engine, train):
    """A job of two workers and a server, started on h1."""
    return hosts.on("h1", *{
        "local": [*LAUNCH, "-n", "2", "--", *train],
        "mpirun": ["mpirun", "--allow-run-as-root", "--bind-to", "none", "--host", "h1:2,h3:2",
                   "-n", "4", "-x", "MLP_MX_DATA", "-x", "PYTHONPATH", *KEEPALIVE,
                   *LAUNCH, "--address", "10.77.0.1:9100", "--", *train],
        "srun": ["srun", "-K", "--quit-on-interrupt", "-N", "2", "-n", "4", *LAUNCH, "--", *train],
    }[engine])


def strike(case, job):
    """Do to a running job what the case's name says."""
    if case == "Ctrl-C":
        os.killpg(job.pid, signal.SIGINT)
    elif case == "unplugged host":
        hosts.plug("h3", False)
    elif case != "train":
        role = case.split()[1]
        os.kill(next(number for number, has in hosts.processes().items() if has == role),
                signal.SIGKILL)


def until(condition, seconds):
    """Seconds until the condition holds, or None."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() > begin + seconds:
            return None
        time.sleep(0.1)
    return time.monotonic() - begin


def attempt(engine, case, folder):
    """Run a case; the exit code, two times and the last line."""
    model, out, errors = (folder / name for name in ("model.npz", "out", "errors"))
    model.unlink(missing_ok=True)
    epochs = "2" if case == "train" else "1000000"
    train = [*TRAIN, "--epochs", epochs, "--save", str(model)]
    with open(out, "wb") as stdout, open(errors, "wb") as stderr:
        job = subprocess.Popen(command(engine, train), stdin=subprocess.DEVNULL,
                               stdout=stdout, stderr=stderr, start_new_session=True)
    try:
        started = "saved as" if case == "train" else "Epoch 0."
        until(lambda: started in out.read_text() or job.poll() is not None, 120)
        if started not in out.read_text():
            raise RuntimeError(f"no {started!r} in {out.read_text()}{errors.read_text()}")
        strike(case, job)
        begin = time.monotonic()
        ended = until(lambda: job.poll() is not None, 90)
        if until(lambda: not hosts.processes(), 30) is None:
            hosts.plug("h3")
        left = until(lambda: not hosts.processes(), 120)
        left = None if left is None else time.monotonic() - begin
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        hosts.plug("h3")
        for number in hosts.processes():
            os.kill(number, signal.SIGKILL)
    return job.returncode, ended, left, (out, errors)[case != "train"].read_text()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    kept, failed = pathlib.Path(__file__).resolve().parents[2], False
    engines = sys.argv[1:] or ["local", "mpirun", "srun"]
    os.environ["PYTHONPATH"] = str(kept)
    with hosts.network(), tempfile.TemporaryDirectory() as name, hosts.daemons(name):
        time.sleep(3)
        for engine in engines:
            for case in ("train", "killed worker", "killed server", "Ctrl-C", "unplugged host"):
                if (engine, case) == ("local", "unplugged host"):
                    continue
                code, ended, left, said = attempt(engine, case, pathlib.Path(name))
                within = SECONDS.get(case, 15)
                good = (code == 0) == (case == "train") and left is not None and left < within
                failed = failed or not good
                shown = ["never" if seconds is None else f"{seconds:.1f}"
                         for seconds in (ended, left)]
                print(f"{engine:7} {case:15} {code:4} {shown[0]:>6} {shown[1]:>6}  "
                      f"{'' if good else 'BROKEN '}", flush=True)
                print("".join(f"    {line}\n" for line in said.splitlines()), end="", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""How training scales over workers, measured on this machine and set beside a model of its cost.

An epoch is B batches of n examples; the network has P parameters and h hidden units a layer. N
workers exchange numbers through N servers: n * (4 * h + 11) factors of the gradients, or P + 1
gradients if these are fewer (see mlp_mx/exchange.py). The model says that an epoch takes

    B * (overhead + compute * products + transfer * 8 * numbers * N + latency)

seconds: each number, of 4 bytes, goes from each worker to the servers, and a sum comes back; one
worker alone has neither transfer nor latency. The products, of an example, are those of matrices: P
forward, P - 784 * h for the gradients at the hidden layers, and P for the gradients of the weights.
All are shared out, over the cores if these are fewer; but where factors are exchanged, each worker
computes the last P itself, and of the others whole blocks of examples. The four constants are
fitted to what was measured (least squares of the relative errors).

On machines of their own, workers do not share cores. Each machine copies the 8 bytes a number of
its worker, and its link carries these and its server's.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --num-hidden 256 1024 --workers 1 2 --batches 20
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

from mlp_mx import model
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.train import distributed, exchange
from mlp_mx import train as training
from mlp_mx.runtime import mx, nd

EPOCH = 60000  # examples


def train(num_hidden, batch_size, batches):
    """Seconds that a batch takes, in this worker, on random images."""
    workers = distributed.join("dist_sync" if "DMLC_ROLE" in os.environ else None, [mx.cpu()])
    random = np.random.RandomState(0)
    X = nd.array(random.uniform(0, 1, (batches * batch_size, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, len(X)))
    loader = ArrayLoader("random", X, label, batch_size, seed=0)
    params = model.init_params(num_hidden=num_hidden, seed=0)
    training.train_epoch(params, [(X[:batch_size], label[:batch_size])] * 3, 1e-5, workers=workers)
    begin = time.perf_counter()
    training.train_epoch(params, loader, 1e-5, workers=workers)
    if not workers or workers.rank == 0:
        print(json.dumps((time.perf_counter() - begin) / batches))


def measure(num_workers, num_hidden, batch_size, batches):
    """Run `train` in so many processes; seconds a batch."""
    command = [sys.executable, __file__, "--train", "--num-hidden", str(num_hidden),
               "--batch-size", str(batch_size), "--batches", str(batches)]
    if num_workers > 1:
        count = str(num_workers)
        command = [sys.executable, "-m", "mlp_mx.launch", "-n", count, "-s", count, "--", *command]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def num_params(num_hidden):
    return 784 * num_hidden + num_hidden ** 2 + 10 * num_hidden + 2 * num_hidden + 10


def terms(num_workers, num_hidden, batch_size, cores):
    """What the constants overhead, compute, transfer and latency are multiplied with."""
    gradients = num_params(num_hidden)
    shared = 2 * gradients - 784 * num_hidden
    if num_workers == 1:
        return np.array([1, shared + gradients, 0, 0])
    factors = exchange.Factors.size(batch_size, num_hidden, num_outputs=10)
    cores = min(num_workers, cores)
    if gradients + 1 <= factors:
        return np.array([1, (shared + gradients) / cores, 8 * num_workers * (gradients + 1), 1])
    bounds = distributed.bounds(batch_size, num_workers)
    spans = [exchange.rows(batch_size, *span) for span in zip(bounds, bounds[1:])]
    rows = [last - first for first, last in spans]
    share = max(max(rows), sum(rows) / cores) / batch_size
    products = share * shared + num_workers / cores * gradients
    return np.array([1, products, 8 * num_workers * factors, 1])


def fit(points, batch_size, cores):
    """The four constants; `points` is a dict from (num_workers, num_hidden) to seconds a batch."""
    seconds = np.array(list(points.values()))
    rows = np.array([terms(*point, batch_size, cores) for point in points]) / seconds[:, None]
    scale = rows.max(axis=0)
    constants, used = np.zeros(len(scale)), scale > 0  # some are not, with one worker only
    while used.any():
        scaled = rows[:, used] / scale[used]
        found = np.linalg.lstsq(scaled, np.ones(len(rows)), rcond=None)[0] / scale[used]
        if (found >= 0).all():
            constants[used] = found
            break
        used[used] = found >= 0  # a negative time would be nonsense
    return constants


def say(where, num_workers, batch_size, cores, constants):
    """From how many hidden units on several workers are faster than one, by the model."""
    def faster(num_hidden):
        alone, several = (
            terms(number, num_hidden, batch_size, cores) @ constants for number in (1, num_workers)
        )
        return several < alone

    most = 2 ** 17
    slower = [h for h in range(1, most, 16) if not faster(h)]
    units = slower[-1] + 16 if slower else 1
    print(f"{num_workers} workers {where} "
          + (f"pay from some {units} hidden units on" if units < most else "never pay"))


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--num-hidden", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    add("--workers", type=int, nargs="+", default=[1, 2, 4])
    add("--batch-size", type=int, default=64)
    add("--batches", type=int, default=100, help="to measure; an epoch is calculated from them")
    add("--network", type=float, default=10, help="Gbit/s between machines of their own")
    add("--train", action="store_true", help=argparse.SUPPRESS)  # in a process to be measured
    return parser.parse_args()


def main():
    args = parse()
    if args.train:
        return train(args.num_hidden[0], args.batch_size, args.batches)
    cores, batches = len(os.sched_getaffinity(0)), -(-EPOCH // args.batch_size)
    points = {}
    for num_hidden in args.num_hidden:
        for num_workers in args.workers:
            points[num_workers, num_hidden] = measure(
                num_workers, num_hidden, args.batch_size, args.batches
            )
    overhead, compute, transfer, latency = constants = fit(points, args.batch_size, cores)
    print(f"{cores} cores, batches of {args.batch_size}, {batches} batches an epoch")
    print(f"fitted: overhead {1e6 * overhead:.0f} us a batch, compute {1e9 * compute:.2f} ns a "
          f"product and batch, transfer {1e-9 / transfer if transfer else np.inf:.2f} GB/s, "
          f"latency {1e6 * latency:.0f} us a batch\n")
    print(f"{'hidden':>6}{'workers':>9}{'GB moved':>10}{'measured s':>12}{'model s':>9}"
          f"{'speed-up':>10}")
    for (num_workers, num_hidden), seconds in points.items():
        row = terms(num_workers, num_hidden, args.batch_size, cores)
        alone = points.get((1, num_hidden), np.nan)
        print(f"{num_hidden:>6}{num_workers:>9}{batches * row[2] / 1e9:>10.2f}"
              f"{batches * seconds:>12.2f}{batches * row @ constants:>9.2f}"
              f"{alone / seconds:>10.2f}")
    print()
    for num_workers in [number for number in args.workers if number > 1]:
        say("on this machine", num_workers, args.batch_size, cores, constants)
        # `terms` has 8 * N bytes a number. Each machine copies 8 of them, and its link carries 16.
        link = (transfer + 2 * 8 / (args.network * 1e9)) / num_workers
        say(f"on machines of their own, at {args.network:g} Gbit/s,", num_workers,
            args.batch_size, num_workers, [overhead, compute, link, latency])


if __name__ == "__main__":
    main()

"""How training scales over workers, measured on this machine and set beside a model of its cost.

An epoch is B batches, and the network has P parameters; N workers exchange them through N servers.
The model says that it takes

    B * (overhead + compute * P / min(N, cores) + transfer * 8 * P * N + latency)

seconds: a gradient of 4 bytes a parameter goes from each worker to the servers, and a sum comes
back; one worker alone has neither transfer nor latency. The four constants are fitted to what was
measured (least squares of the relative errors). On machines of their own, workers do not share the
cores, and each has its own link: min(N, cores) is N then, and each link carries 16 * P bytes, its
worker's and its server's.

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

EPOCH = 60000  # examples


def train(num_hidden, batch_size, batches):
    """Seconds that a batch takes, in this worker, on random images."""
    from mlp_mx import data, distributed, model
    from mlp_mx import train as training
    from mlp_mx.runtime import mx, nd

    workers = distributed.join("dist_sync" if "DMLC_ROLE" in os.environ else None, [mx.cpu()])
    random = np.random.RandomState(0)
    X = nd.array(random.uniform(0, 1, (batches * batch_size, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, len(X)))
    loader = data.ArrayLoader("random", X, label, batch_size, seed=0)
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


def factors(num_workers, num_hidden, cores):
    """What the constants overhead, compute, transfer and latency are multiplied with."""
    P, several = num_params(num_hidden), num_workers > 1
    return [1, P / min(num_workers, cores), several * 8 * P * num_workers, several]


def fit(points, cores):
    """The four constants; `points` is a dict from (num_workers, num_hidden) to seconds a batch."""
    seconds = np.array(list(points.values()))
    rows = np.array([factors(*point, cores) for point in points], dtype=float) / seconds[:, None]
    scale = np.abs(rows).max(axis=0)
    scale[scale == 0] = 1  # one worker only
    constants = np.linalg.lstsq(rows / scale, np.ones(len(rows)), rcond=None)[0] / scale
    return np.maximum(constants, 0)


def break_even(saved, spent, latency):
    """The least number of hidden units for which ``(saved - spent) * P`` exceeds the latency."""
    if saved <= spent:
        return None
    return next((h for h in range(1, 10**6) if (saved - spent) * num_params(h) > latency), None)


def say(where, num_workers, saved, spent, latency, batch_size):
    units = break_even(saved, spent, latency)
    if units:
        print(f"{num_workers} workers {where} pay from {units} hidden units on")
    elif saved > 0:
        print(f"{num_workers} workers {where} never pay with batches of {batch_size}; what they "
              f"save grows with the batch: try more than {batch_size * spent / saved:.0f}")
    else:
        print(f"{num_workers} workers {where} never pay: there are no cores for them")


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
    overhead, compute, transfer, latency = constants = fit(points, cores)
    print(f"{cores} cores, batches of {args.batch_size}, {batches} batches an epoch")
    print(f"fitted: overhead {1e6 * overhead:.0f} us a batch, compute {1e9 * compute:.2f} ns a "
          f"parameter and batch, transfer {1e-9 / transfer if transfer else np.inf:.2f} GB/s, "
          f"latency {1e6 * latency:.0f} us a batch\n")
    print(f"{'hidden':>6}{'workers':>9}{'GB moved':>10}{'measured s':>12}{'model s':>9}"
          f"{'speed-up':>10}")
    for (num_workers, num_hidden), seconds in points.items():
        row = factors(num_workers, num_hidden, cores)
        alone = points.get((1, num_hidden), np.nan)
        print(f"{num_hidden:>6}{num_workers:>9}{batches * row[2] / 1e9:>10.2f}"
              f"{batches * seconds:>12.2f}{batches * np.dot(row, constants):>9.2f}"
              f"{alone / seconds:>10.2f}")
    print()
    for num_workers in [number for number in args.workers if number > 1]:
        say("on this machine", num_workers, compute * (1 - 1 / min(num_workers, cores)),
            transfer * 8 * num_workers, latency, args.batch_size)
        say(f"on machines of their own, at {args.network:g} Gbit/s,", num_workers,
            compute * (1 - 1 / num_workers), 16 / (args.network * 1e9 / 8), latency,
            args.batch_size)


if __name__ == "__main__":
    main()

"""Measure on this machine from which batch size several workers are faster than one.

One worker alone and several, with as many servers, train on the same random images, one after the
other. The table has the best time of some rounds, and the median of the rounds' speed-ups, which
change less on a busy machine.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --num-hidden 1024 --batch-size 512 4096 --workers 2
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

from mlp_mx import data, fast, model
from mlp_mx import train as training
from mlp_mx.runtime import mx, nd
from mlp_mx.train import distributed

EPOCH = 60000  # examples
EXAMPLES = 12000  # that are measured


def train(num_hidden, batch_size):
    """Print the seconds that an epoch's training takes, in this worker."""
    workers = distributed.join(mx.cpu())
    random = np.random.RandomState(0)
    X = nd.array(random.uniform(0, 1, (max(EXAMPLES, 3 * batch_size), 28, 28, 1)))
    label = nd.array(random.randint(0, 10, len(X)))
    loader = data.ArrayLoader(X, label, batch_size, seed=0)
    params = model.init_params(num_hidden=num_hidden, seed=0)
    net, loss = fast.traced(model.net), fast.traced(model.softmax_cross_entropy)
    part, update, seconds = workers.part(loader), workers.synchronised(training.SGD), []
    for epoch in range(2):  # in the first, functions are traced and memory is allocated
        begin = time.perf_counter()
        part.set_epoch(epoch)
        with fast.packed(params, update) as working:
            training.train_epoch(working, part, 1e-6, net, loss, update)
        seconds.append(time.perf_counter() - begin)
    if workers.rank == 0:
        print(json.dumps(seconds[1] * EPOCH / len(X)))


def measure(num_workers, num_hidden, batch_size):
    """Run `train` in that many processes; return the seconds per epoch."""
    command = [sys.executable, __file__, "--train", "--num-hidden", str(num_hidden),
               "--batch-size", str(batch_size)]
    if num_workers > 1:
        count = str(num_workers)
        command = [sys.executable, "-m", "mlp_mx.launch", "-n", count, "-s", count, "--", *command]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--num-hidden", type=int, nargs="+", default=[256])
    add("--batch-size", type=int, nargs="+", default=[64, 256, 512, 1024, 2048, 4096])
    add("--workers", type=int, nargs="+", default=[2, 4])
    add("--repeat", type=int, default=3)
    add("--train", action="store_true", help=argparse.SUPPRESS)  # in a process to be measured
    return parser.parse_args()


def main():
    args = parse()
    if args.train:
        return train(args.num_hidden[0], args.batch_size[0])
    print(f"{len(os.sched_getaffinity(0))} cores; seconds of training per epoch\n")
    print(f"{'hidden':>6}{'batch':>7}{'1 worker':>10}"
          + "".join(f"{f'{number} workers':>11}{'speed-up':>10}" for number in args.workers))
    for num_hidden in args.num_hidden:
        for batch_size in args.batch_size:
            rounds = np.array([
                [measure(number, num_hidden, batch_size) for number in (1, *args.workers)]
                for _ in range(args.repeat)
            ])
            best, speed_ups = rounds.min(axis=0), np.median(rounds[:, :1] / rounds, axis=0)
            print(f"{num_hidden:>6}{batch_size:>7}{best[0]:>10.2f}" + "".join(
                f"{seconds:>11.2f}{speed_up:>10.2f}"
                for seconds, speed_up in zip(best[1:], speed_ups[1:])), flush=True)


if __name__ == "__main__":
    main()

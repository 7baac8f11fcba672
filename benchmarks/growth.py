"""How the time of an epoch grows: with the images, the hidden units, and the batch size.

MNIST's training images are cut or repeated; other settings are the chapter's. This package and
PyTorch (with its DataLoader) run in processes of their own and take turns.

    python benchmarks/growth.py
"""

import argparse
import statistics

import epoch
import peers

VARIED = {
    "images": (15000, 30000, 60000, 120000, 240000),
    "num_hidden": (128, 256, 512, 1024, 2048),
    "batch_size": (32, 64, 256, 1024, 4096),
}
COMPARED = ("mlp_mx", "PyTorch")


def measure(rounds, **setting):
    """Median seconds of an epoch, training and evaluation, of each peer that is installed."""
    workers = {}
    for name in COMPARED:
        try:
            workers[name] = peers.Worker(name, **setting)
        except ImportError:
            pass
    totals = {name: [] for name in workers}
    for _ in range(1 + rounds):
        for name, worker in workers.items():
            times = worker.epoch()
            totals[name].append(times["train"] + times["evaluate"])
    for worker in workers.values():
        worker.close()
    return {name: statistics.median(seconds[1:]) for name, seconds in totals.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vary", nargs="+", choices=VARIED, default=list(VARIED))
    args = parser.parse_args()
    print(epoch.describe_machine())
    for name in args.vary:
        print(f"\n{name:<12}" + "".join(f"{peer:>10}" for peer in COMPARED) + f"{'ratio':>8}")
        for value in VARIED[name]:
            seconds = measure(args.rounds, **{name: value})
            cells = [f"{seconds[peer]:>10.2f}" if peer in seconds else f"{'-':>10}"
                     for peer in COMPARED]
            ratio = f"{seconds['mlp_mx'] / seconds['PyTorch']:>8.2f}" if len(seconds) > 1 else ""
            print(f"{value:<12}{''.join(cells)}{ratio}", flush=True)


if __name__ == "__main__":
    main()

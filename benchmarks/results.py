"""The table of results in the README: each row's command, run for some seeds, and the means.

    python benchmarks/results.py
    python benchmarks/results.py --seeds 1 --dataset glyphs
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

from mlp_mx import data
from mlp_mx.train import record

ROWS = (  # options of python -m mlp_mx.train, in addition to --dataset and --seed
    "",  # the chapter's settings
    "--num-hidden 128",
    "--num-hidden 512",
    "--num-hidden 1024",
    "--epochs 30",
    "--num-hidden 512 --epochs 20 --learning-rate 0.006 --weight-scale 0.03",
)


def run(dataset, options, seed):
    """Train once; the last epoch's test accuracy, and the seconds of all epochs."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        subprocess.run(
            [sys.executable, "-m", "mlp_mx.train", "--dataset", dataset, "--seed", str(seed),
             "--log", path, *options.split()],
            check=True, stdout=subprocess.DEVNULL,
        )
        records = record.read(path)
    return records[-1]["test_accuracy"], sum(record["seconds"] for record in records)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=data.DATASETS[1:], nargs="+",
                        default=data.DATASETS[1:])
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of each row")
    args = parser.parse_args()
    print(f"{'options':<76}{'data set':<10}{'accuracy':>10}{'lowest':>10}{'highest':>10}{'s':>8}")
    for options in ROWS:
        for dataset in args.dataset:
            runs = np.array([run(dataset, options, seed) for seed in range(args.seeds)])
            accuracies, seconds = runs.T
            print(f"{options:<76}{dataset:<10}{accuracies.mean():>10.4f}{accuracies.min():>10.4f}"
                  f"{accuracies.max():>10.4f}{seconds.mean():>8.1f}", flush=True)


if __name__ == "__main__":
    main()

"""An epoch of the chapter, side by side: this package, the literal chapter, PyTorch, JAX, and BLAS.

Each peer runs in a process of its own; the processes take turns, an epoch each, for some rounds
after a warm-up. Prints a table of medians, with the spread of the totals, and draws it.

    python benchmarks/epoch.py --picture docs/epoch.png
"""

import argparse
import importlib.metadata
import os
import platform
import statistics

import peers


def measure(names, rounds):
    """Median times, spread, peak memory and start-up of each peer that is installed."""
    workers = {}
    for name in names:
        try:
            workers[name] = peers.Worker(name)
        except ImportError as error:
            print(f"left out: {name} ({error} is not installed)")
    epochs = {name: [] for name in workers}
    for _ in range(1 + rounds):
        for name, worker in workers.items():
            epochs[name].append(worker.epoch())
    rows = {}
    for name, worker in workers.items():
        counted = epochs[name][1:]
        totals = [epoch["train"] + epoch["evaluate"] for epoch in counted]
        rows[name] = {
            "train": statistics.median(epoch["train"] for epoch in counted),
            "evaluate": statistics.median(epoch["evaluate"] for epoch in counted),
            "total": statistics.median(totals), "least": min(totals), "most": max(totals),
            "accuracy": counted[-1]["accuracy"], "startup": worker.startup,
            "peak": worker.close(),
        }
    return rows


def table(rows):
    """The rows as text; ratios are to PyTorch's total, where PyTorch is there."""
    unit = rows.get("PyTorch", {}).get("total")
    lines = [f"{'peer':<17}{'train':>8}{'evaluate':>10}{'total':>8}{'spread':>14}"
             f"{'x PyTorch':>11}{'peak MB':>9}{'start-up':>10}{'test acc.':>11}"]
    for name, row in rows.items():
        spread = f"{row['least']:.2f}-{row['most']:.2f}"
        lines.append(
            f"{name:<17}{row['train']:>8.3f}{row['evaluate']:>10.3f}{row['total']:>8.3f}"
            f"{spread:>14}{row['total'] / unit if unit else float('nan'):>11.2f}"
            f"{row['peak']:>9.0f}{row['startup']:>10.2f}"
            + (f"{row['accuracy'][1]:>11.4f}" if row["accuracy"] else "")
        )
    return "\n".join(lines)


def draw(rows, path):
    """Bars of the table's totals, with their spread, the fastest at the top.

    The literal chapter is cut off.
    """
    from matplotlib.figure import Figure

    shown = sorted(rows, key=lambda name: rows[name]["total"], reverse=True)
    others = [rows[name]["most"] for name in shown if name != "chapter"]
    limit = 1.15 * max(others, default=rows[shown[0]]["most"])
    figure = Figure(figsize=(8, 0.45 * len(shown) + 0.9), layout="constrained")
    axes = figure.add_subplot(xlim=(0, limit))
    for name in shown:
        total, least, most = (rows[name][key] for key in ("total", "least", "most"))
        axes.barh(name, total, color="#0072B2" if name.startswith("mlp_mx") else "0.72")
        if total > limit:
            axes.text(0.99 * limit, name, f"{total:.2f} s, cut off here", va="center", ha="right")
        else:
            axes.plot([least, most], [name, name], color="0.2", linewidth=1.5)
            axes.text(most + 0.01 * limit, name, f"{total:.2f} s", va="center")
    axes.set_title("an epoch of training and evaluation, median and spread", loc="left")
    axes.set_xlabel("seconds per epoch")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=150)


def describe_machine():
    """The processor and the versions of what is compared."""
    versions = []
    for package in ("mxnet", "numpy", "torch", "jax"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    machine = f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return ", ".join([machine, *versions])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS))
    parser.add_argument("--picture", help="file to draw to: PNG, SVG or PDF")
    args = parser.parse_args()
    print(describe_machine())
    rows = measure(args.peers, args.rounds)
    print(table(rows))
    if args.picture:
        draw(rows, args.picture)


if __name__ == "__main__":
    main()

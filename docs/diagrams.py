"""The tutorial's two diagrams, which pictures.py draws; their labels can be read on a phone."""

import numpy as np
from matplotlib.figure import Figure

ORANGE, GREY, TEAL = "#E69F00", "#BBBBBB", "#009E73"  # inputs, hidden units, outputs
SHOWN = 8  # units per layer; larger layers have a gap in the middle
GAP = 2.2  # between two layers; units are 1 apart

DIAGRAMS = {
    "linear_model": [(784, "pixels"), (10, "classes")],
    "network": [(784, "pixels"), (256, "hidden units"), (256, "hidden units"), (10, "classes")],
}


def places(size):
    """x coordinates of a layer's units."""
    middle = (SHOWN - 1) / 2
    return [place for place in range(SHOWN) if size == SHOWN or abs(place - middle) > 1]


def connect(axes, below, above, y):
    """Draw a line from each unit of a layer to each unit of the next, all as one path."""
    lines = [[(start, y), (end, y + GAP), (np.nan, np.nan)] for start in below for end in above]
    axes.plot(*np.concatenate(lines).T, color="0.8", linewidth=0.6, zorder=1)


def diagram(layers):
    """Draw a network of fully connected layers, inputs at the bottom.

    Parameters
    ----------
    layers : list of (int, str)
        Size and name of each layer, from inputs to outputs.

    Returns
    -------
    matplotlib.figure.Figure
    """
    top = len(layers) - 1
    figure = Figure(figsize=(5, 0.5 + 0.95 * top), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.axis("off")
    for number, (size, name) in enumerate(layers):
        y = GAP * number
        color = ORANGE if number == 0 else TEAL if number == top else GREY
        axes.scatter(places(size), [y] * len(places(size)), 130, color, edgecolors="0.25",
                     linewidths=0.8, zorder=2)
        if size > SHOWN:
            axes.text((SHOWN - 1) / 2, y, "· · ·", ha="center", va="center", fontsize=13)
        axes.text(SHOWN - 0.2, y, f"{size} {name}", va="center", fontsize=12)
        if number:
            connect(axes, places(layers[number - 1][0]), places(size), y - GAP)
            label = f"$W_{number}$, $b_{number}$" if top > 1 else "$W$, $b$"
            axes.text(SHOWN - 0.2, y - GAP / 2, label, va="center", fontsize=12)
    axes.set_xlim(-0.6, SHOWN + 3.9)
    axes.set_ylim(-0.5, GAP * top + 0.5)
    return figure

"""``python -m mlp_mx.train`` on a few images, for tests that stop it early."""

import sys

import numpy as np

from mlp_mx.train import __main__ as train_command
from mlp_mx.data import glyphs

COMMAND = [sys.executable, __file__]  # takes the options of training


def _half(count, seed):
    """Noise, with a bright line in a place that tells the label."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count).astype(np.uint8)
    images = random.randint(0, 60, (count, 28, 28)).astype(np.uint8)
    images[np.arange(count), 4 + 2 * labels] = 255
    return images, labels


SPLITS = _half(656, 0), _half(500, 1)

if __name__ == "__main__":
    glyphs.load = lambda data_dir, progress: SPLITS
    sys.exit(train_command.main(["--dataset", "glyphs", "--num-hidden", "64", *sys.argv[1:]]))

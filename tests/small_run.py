"""``python -m mlp_mx.train`` on a few glyphs, for tests that end it before its time."""

import sys

from mlp_mx.train import __main__ as train_command
from mlp_mx.data import glyphs

SPLITS = glyphs.generate("train", 656), glyphs.generate("test", 500)

if __name__ == "__main__":
    glyphs.load = lambda data_dir, progress: SPLITS
    sys.exit(train_command.main(["--dataset", "glyphs", "--num-hidden", "64", *sys.argv[1:]]))

"""``python -m mlp_mx.glyphs``: draw a sheet of glyphs, the digits drawn from fonts."""

import sys

from ._support import cli


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.glyphs",
        description="Draw a sheet of glyphs, the data set of digits drawn from fonts.",
    )
    parser.add_argument("sheet", type=cli.path, metavar="PICTURE", nargs="?", default="glyphs.png",
                        help="PNG file to write, with 20 training images of each digit")
    parser.add_argument("--data-dir", type=cli.path, metavar="DIR",
                        help="folder for the data set")
    return parser


def contact_sheet(images, labels):
    """Lay out the first 20 images of each digit in a row, at twice their size."""
    import numpy as np

    rows = [np.hstack(images[labels == digit][:20]) for digit in range(10)]
    return np.vstack(rows).repeat(2, axis=0).repeat(2, axis=1)


@cli.command
def main(argv=None):
    """Draw the sheet."""
    args = _parser().parse_args(argv)
    from . import plot  # here, because --help needs none of this
    from ._support.files import check_suffix, whole_file
    from .data import glyphs

    check_suffix(args.sheet, ".png")
    plot.check_path(args.sheet)
    from matplotlib.image import imsave

    train, _ = glyphs.load(args.data_dir, progress=True)
    with whole_file(args.sheet) as file:
        imsave(file, contact_sheet(*train), cmap="gray", format="png")
    print(f"{args.sheet}: the first 20 glyphs of each digit")


if __name__ == "__main__":
    sys.exit(main())

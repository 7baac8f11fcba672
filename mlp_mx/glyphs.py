"""``python -m mlp_mx.glyphs``: look at the digits drawn from fonts."""

import sys

from ._support import cli
from ._support.files import check_writable, whole_file
from .data import mnist
from .data.glyphs import SIZES, contact_sheet, load, write_mnist_files


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.glyphs",
        description="Draw a contact sheet of glyphs, the data set of digits drawn from fonts.",
    )
    parser.add_argument("sheet", type=cli.path, metavar="PICTURE", nargs="?", default="glyphs.png",
                        help="file to draw to, a PNG: 20 of each digit")
    parser.add_argument("--split", choices=SIZES, default="train", help="half to draw")
    parser.add_argument("--data-dir", type=cli.path, metavar="DIR",
                        help="folder in which the data set is kept")
    parser.add_argument("--write", type=cli.path, metavar="DIR",
                        help="also write the whole data set there, as four files in MNIST's format")
    return parser


@cli.command
def main(argv=None):
    """Draw a contact sheet, and write the data set for other programs if asked to."""
    args = _parser().parse_args(argv)
    check_writable(args.sheet, ".png")
    splits = load(args.data_dir, progress=True)
    from matplotlib.image import imsave

    sheet = contact_sheet(*splits[list(SIZES).index(args.split)])
    with whole_file(args.sheet) as file:
        imsave(file, sheet, cmap="gray", format="png")
    print(f"{args.sheet}: the first 20 of each digit, {args.split}")
    if args.write is not None:
        write_mnist_files(args.write, splits)
        print(f"{args.write}: {', '.join(mnist.FILES)}")


if __name__ == "__main__":
    sys.exit(main())

"""``python -m mlp_mx.export``: write a saved model as an ONNX file."""

import sys

from . import to_onnx
from .. import checkpoint
from .._support import cli
from .._support.files import check_writable, whole_file


def _parser():
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx.export",
        description="Write a saved model as an ONNX file. The network may have any number of "
        "layers, with ReLU between them.",
    )
    add = parser.add_argument
    parser.add_shared("model")
    add("out", type=cli.path, metavar="OUT", help="file to write, .onnx")
    add("--softmax", action="store_true", help="output probabilities instead of logits")
    return parser


@cli.command
def main(argv=None):
    """Write a saved model as an ONNX file."""
    args = _parser().parse_args(argv)
    cli.check_different(args, "MODEL", "OUT")
    check_writable(args.out, ".onnx")
    params, metadata = checkpoint.load(args.model)
    model = to_onnx(params, metadata, args.softmax)
    with whole_file(args.out) as file:
        file.write(model.SerializeToString(deterministic=True))
    print(cli.printable(f"{args.out}: {model.doc_string}"))


if __name__ == "__main__":
    sys.exit(main())

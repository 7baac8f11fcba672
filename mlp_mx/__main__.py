"""``python -m mlp_mx``: the commands of the package."""

import sys

from . import __version__
from ._support import cli

COMMANDS = {
    "train": "train the chapter's network",
    "predict": "read digits from pictures, or from the test set",
    "export": "write a saved network as an ONNX file",
    "launch": "train in several processes, on one machine or many",
    "glyphs": "draw a sheet of glyphs, digits drawn from fonts",
    "runtime": "report what this machine has, what is wrong, and how to fix it",
}


@cli.command
def main(argv=None):
    """List the commands, or print the version."""
    commands = "\n".join(f"  python -m mlp_mx.{name:<9}{text}" for name, text in COMMANDS.items())
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx", formatter_class=cli.RawHelp,
        description="The chapter \"Multilayer perceptrons from scratch\" in MXNet.",
        epilog=f"commands (--help describes each):\n{commands}",
    )
    parser.add_argument("--version", action="version", version=f"mlp_mx {__version__}")
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        parser.error(f"run python -m mlp_mx.{words[0]}, with a dot")
    parser.parse_args(words)
    parser.print_help()


if __name__ == "__main__":
    sys.exit(main())

"""``python -m mlp_mx``, and the script ``mlp_mx``: run a command of the package, or list them."""

import importlib
import sys

from ._support import cli
from ._support.commands import COMMANDS
from ._support.errors import InputError


def main(argv=None):
    """Run the command that the first word names: ``train --epochs 2``."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        return importlib.import_module(f"mlp_mx.{words[0]}.__main__").main(words[1:])
    return _list(words)


@cli.command
def _list(argv):
    """List the commands, or print the version."""
    commands = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    parser = cli.ArgumentParser(
        prog="python -m mlp_mx", formatter_class=cli.RawHelp,
        description="The chapter \"Multilayer perceptrons from scratch\" in MXNet.",
        usage="python -m mlp_mx COMMAND …",
        epilog=f"commands (python -m mlp_mx.COMMAND --help describes each):\n{commands}",
    )
    if argv and not argv[0].startswith("-"):
        raise InputError(f"unknown command {argv[0]!r} ({cli.nearest(argv[0], COMMANDS)}"
                         "python -m mlp_mx lists the commands)")
    parser.parse_args(argv)
    parser.print_help()


if __name__ == "__main__":
    sys.exit(main())

"""The names of the commands, and the error for ``python -m`` with any other module."""

import sys

COMMANDS = {
    "train": "train the chapter's network",
    "evaluate": "compare a saved model's accuracy with the recorded and the published one",
    "predict": "read digits from pictures, or from the test set",
    "export": "write a saved network as an ONNX file",
    "launch": "train in several processes",
    "runtime": "report what this machine has, what is wrong, and how to fix it",
}


def check_module():
    """End ``python -m mlp_mx.model``, which would do nothing, with a line that says so.

    Call this while Python looks for the module to run; only `sys.orig_argv` names it then.
    """
    words = getattr(sys, "orig_argv", sys.argv)  # Python 3.9 has none
    name = words[-len(sys.argv)].rpartition("-m")[2]
    package, _, module = name.partition(".")
    if package != "mlp_mx" or module.removesuffix(".__main__") in ("", "__main__", *COMMANDS):
        return
    from .cli import complain, nearest

    complain(f"error: {name} is not a command ({nearest(module, COMMANDS)}"
             "python -m mlp_mx lists the commands)")
    sys.exit(2)

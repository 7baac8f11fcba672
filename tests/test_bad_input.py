"""Bad command lines, made from the commands' own tables of options."""

import gzip
import importlib
import os
import pathlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_mx import checkpoint, model
from mlp_mx import glyphs as glyphs_command
from mlp_mx.data import mnist

LINES = int(os.environ.get("MLP_MX_COMMAND_LINES", 200))
COMMANDS = {
    "glyphs": glyphs_command,
    **{name: importlib.import_module(f"mlp_mx.{name}.__main__")
       for name in ("train", "predict", "export", "launch", "runtime")},
}
NETWORK = model.init_params(num_hidden=4, seed=0)
# Of files that are there: folder, folder.npz, text.txt, damaged.npz, good.npz.
BAD_FILES = {
    "save": ["folder", "text.txt", "absent/model.npz", "folder.npz", "model.npz/model.npz"],
    "resume": ["absent.npz", "folder.npz", "text.txt", "damaged.npz"],
    "log": ["folder", "absent/log", "text.txt", "damaged.npz"],
    "sheet": ["folder", "sheet.txt", "absent/sheet.png"],
    "data_dir": [],
    "model": ["absent.npz", "folder.npz", "text.txt", "damaged.npz"],
    "out": ["folder", "text.txt", "absent/model.onnx"],
    "plot": ["folder", "text.txt", "absent/curves.png", "curves.gif"],
    "image": [],
    "hosts": ["folder", "absent"],
}
BAD_WORDS = st.sampled_from(["--no-such-option", "--epoch=1", "-x", "--help=1", "--no-progress=1"])
GOOD = {"model": "good.npz", "out": "out.onnx", "command": "true", "num_workers": "1"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, few_glyphs):
    """A current folder to stumble over, and a small data set."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.npz"):
        os.mkdir(name)
    (tmp_path / "text.txt").write_text("text\n")
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4damaged")
    checkpoint.save("good.npz", NETWORK, dataset="glyphs")
    return tmp_path


def run(command, line):
    try:
        return command.main(line)
    except SystemExit as exit:  # argparse's way out
        return exit.code


def bad_values(action):
    """Values that an option must refuse."""
    words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
    if action.dest == "command":
        return st.just("absent-program")
    if action.dest in BAD_FILES:
        return st.sampled_from(["", "\0", *BAD_FILES[action.dest]])
    if action.choices:
        return words.filter(lambda word: word not in action.choices)
    if action.dest == "ctx":
        return st.sampled_from(["", "gpu:", "gpu:-1", "gpu:9999", "cpu:x", "GPU", "gpu:0:1"])
    numbers = st.sampled_from(["", "nan", "inf", "-1", "1e30", "9" * 5000, "½", "0x10"])
    return numbers | words.filter(lambda word: not any(c.isdigit() for c in word))


def argument(action, value):
    return f"{action.option_strings[0]}={value}" if action.option_strings else value


@st.composite
def bad_lines(draw):
    """A command and a line of good options, with one that is bad somewhere among them."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    actions = [action for action in COMMANDS[name]._parser()._actions if action.dest != "help"]
    culprit = draw(st.sampled_from([None, *(action for action in actions if action.nargs != 0)]))
    line = ["--dataset=glyphs"] if name in ("train", "predict") else []
    for action in draw(st.permutations(actions)):
        if action is culprit or not action.required and draw(st.booleans()):
            continue
        if action.nargs == 0:
            line += action.option_strings
        elif action.choices and action.dest != "dataset":
            line.append(argument(action, draw(st.sampled_from(sorted(action.choices)))))
        elif action.dest in GOOD or action.default not in (None, []):
            line.append(argument(action, GOOD.get(action.dest, str(action.default))))
    at = draw(st.integers(1, len(line))) if line else 0
    return name, [*line[:at], draw(BAD_WORDS) if culprit is None else argument(
        culprit, draw(bad_values(culprit))), *line[at:]]


@settings(max_examples=LINES, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bad_lines())
def test_bad_command_lines_get_one_line_and_exit_code_2(capsys, bad):
    name, line = bad
    before = sorted(os.listdir())
    assert run(COMMANDS[name], line) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert set(os.listdir()) <= {*before, "glyphs.png"}
    assert pathlib.Path("text.txt").read_text() == "text\n"


@pytest.mark.parametrize("name, line", [
    ("train", "--save model.npz"), ("train", "--data-dir model.npz"), ("predict", "model.npz"),
    ("export", "/absent model.npz"), ("glyphs", "model.npz"),
])
def test_relative_paths_in_a_deleted_folder_are_named(capsys, folder, monkeypatch, name, line):
    monkeypatch.chdir(folder / "folder")
    (folder / "folder").rmdir()
    assert run(COMMANDS[name], line.split()) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert "model.npz: the current folder has been deleted" in errors


def idx(array, magic=0x800):
    """An array as a file in MNIST's format."""
    header = struct.pack(f">{1 + array.ndim}I", magic + array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


IMAGES, LABELS = idx(np.zeros((20, 28, 28))), idx(np.zeros(20))


@pytest.mark.parametrize("images, labels, message", [
    (LABELS, IMAGES, "train-images-idx3-ubyte.gz is intact but not MNIST's"),
    (IMAGES, idx(np.zeros(19)), "is intact but not MNIST's"),
    (idx(np.zeros((20, 28, 28)), magic=0x900), LABELS, "is intact but not MNIST's"),
    (IMAGES[:-50], LABELS[:-5], "could not be downloaded"),
    (b"", b"", "train-images-idx3-ubyte.gz (wrong SHA-256) could not be downloaded"),
    (None, None, "train-images-idx3-ubyte.gz (missing) could not be downloaded"),
], ids=["swapped", "other counts", "wrong magic", "cut", "empty", "absent"])
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_wrong_data_files_get_one_line(capsys, monkeypatch, images, labels, message, dataset):
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    for name in mnist.FILES:
        content = images if "images" in name else labels
        if content is not None:
            pathlib.Path("folder", name).write_bytes(content)
    line = ["--data-dir", "folder", "--dataset", dataset, "--num-hidden", "4", "--epochs", "1"]
    code = run(COMMANDS["train"], line)
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    if "download" in message and dataset == "auto":
        assert code == 0 and errors.startswith("warning: THIS IS NOT MNIST")
    else:
        assert code == (1 if "download" in message else 2) and errors.startswith("error: ")
    for name in mnist.FILES:
        content = images if "images" in name else labels
        path = pathlib.Path("folder", name)
        assert (path.read_bytes() if path.exists() else None) == content

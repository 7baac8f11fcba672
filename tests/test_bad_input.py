"""Bad command lines, made from the commands' own tables of options, and bad data files."""

import gzip
import importlib
import os
import pathlib
from random import Random

import pytest

from mlp_mx import checkpoint, model
from mlp_mx import glyphs as glyphs_command
from mlp_mx.data import mnist

LINES = int(os.environ.get("MLP_MX_COMMAND_LINES", 100))
COMMANDS = {
    "glyphs": glyphs_command,
    **{name: importlib.import_module(f"mlp_mx.{name}.__main__")
       for name in ("train", "predict", "export", "launch")},
}
NETWORK = model.init_params(num_hidden=4, seed=0)
# By the names of options; there are folder, folder.npz, text.txt, damaged.npz and good.npz.
BAD_FILES = {
    "save": ["folder", "text.txt", "absent/model.npz", "folder.npz", "model.npz/model.npz"],
    "resume": ["absent.npz", "absent\n.npz", "folder.npz", "text.txt", "damaged.npz", "good.npz"],
    "log": ["folder", "absent/log", "text.txt", "damaged.npz"],
    "sheet": ["folder", "sheet.txt", "absent/sheet.png"],
    "data_dir": [],
    "model": ["absent.npz", "folder.npz", "text.txt", "damaged.npz"],
    "out": ["folder", "text.txt", "absent/model.onnx"],
    "plot": ["folder", "text.txt", "absent/curves.png", "curves.gif"],
    "image": [],
    "hosts": ["folder", "absent"],
    "python": [],
}
BAD_CONTEXTS = ["", "gpu:", "gpu:-1", "gpu:9999", "cpu:x", "GPU", "gpu:0:1"]
BAD_VALUES = ["", "x", "two\nlines", "nan", "inf", "-1", "1e30", "9" * 5000, "½", "0x10"]
BAD_WORDS = ["--no-such-option", "--no-such\noption", "--epoch=1", "-x", "--help=1"]
GOOD = {"dataset": "glyphs", "model": "good.npz", "out": "out.onnx", "command": "true",
        "num_workers": "1"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, few_glyphs):
    """A current folder to stumble over, and a small data set."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.npz"):
        os.mkdir(name)
    (tmp_path / "text.txt").write_text("text\n")
    (tmp_path / "option.txt").write_text("-oProxyCommand=true\n")
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4\x80damaged")
    checkpoint.save("good.npz", NETWORK, dataset="glyphs")
    return tmp_path


def refusal(capsys, name, line):
    """The message, one line, with which a command refuses another; what it has printed before."""
    try:
        code = COMMANDS[name].main(line)
    except SystemExit as exit:  # argparse's way out
        code = exit.code
    printed, errors = capsys.readouterr()
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    return errors, printed


def bad_values(action):
    """Values that an option must refuse."""
    if action.dest == "command":
        return ["absent-program"]
    if action.dest in BAD_FILES:
        return ["", "\0", *BAD_FILES[action.dest]]
    return BAD_CONTEXTS if action.dest == "ctx" else BAD_VALUES


def argument(action, value):
    return f"{action.option_strings[0]}={value}" if action.option_strings else value


def arguments(command):
    """What a command takes and what it must refuse, by the names of its options."""
    actions = [action for action in command._parser()._actions if action.nargs != 0]
    good = {action.dest: argument(action, GOOD.get(action.dest, str(action.default)))
            for action in actions if action.dest in GOOD or action.default not in (None, [])}
    bad = [(action.dest, argument(action, value))
           for action in actions for value in bad_values(action)]
    return good, [*bad, *((word, word) for word in BAD_WORDS)]


def bad_lines():
    """Lines in which one thing is bad and all else is good; then, at random, far worse ones."""
    known, chance = {name: arguments(command) for name, command in COMMANDS.items()}, Random(0)
    for name, (good, bad) in known.items():
        yield from ((name, {**good, option: word}) for option, word in bad)
    for name in chance.choices([*known], k=LINES):
        good, bad = known[name]
        some = dict(chance.sample([*good.items()], chance.randint(0, len(good))))
        yield name, {**some, **dict(chance.choices(bad, k=chance.randint(1, 3)))}


@pytest.mark.parametrize("name, line", [(name, [*line.values()]) for name, line in bad_lines()])
def test_bad_command_lines_get_one_line_and_exit_code_2(capsys, name, line):
    before = sorted(os.listdir())
    refusal(capsys, name, line)
    assert sorted(os.listdir()) == before
    assert pathlib.Path("text.txt").read_text() == "text\n"


@pytest.mark.parametrize("name, line, complaint", [
    ("train", "--epochs 0", "expected a whole number from 1 to 1000000, found '0'"),
    ("train", "--epochs 1.5", "found '1.5'"),
    ("train", "--learning-rate 0", "argument --learning-rate: expected a number"),
    ("train", "--num-hidden 16385", "from 1 to 16384"),
    ("train", "--seed 4294967296", "from 0 to 4294967295"),
    ("train", "--ctx tpu", "expected a context"),
    ("train", "--dataset cifar", "invalid choice: 'cifar'"),
    ("train", "--data-dir /dev/null", "Not a directory"),
    ("train", "--epoch 1", "unrecognized arguments"),  # no abbreviations
    ("launch", "-n 0 -- true", "expected a whole number from 1"),
    ("launch", "-n 1 -s 0 -- true", "argument -s/--num-servers: expected a whole number from 1"),
    ("launch", "-n 1", "required: COMMAND"),
    ("launch", "-n 1 --hosts /dev/null -- true", "cannot be read: Not a regular file"),
    ("launch", "-n 1 --hosts damaged.npz -- true", "damaged.npz cannot be read: 'utf-8' codec"),
    ("launch", f"-n 1 --hosts {__file__} -- true", "expected one host per line"),
    ("launch", "-n 1 --hosts option.txt -- true", "expected one host per line"),
    ("launch", "-n 1 --address 127.0.0.1 -- true", "such as 192.168.0.1:9100"),
    ("launch", "-n 1 --address host:80 -- true", "such as 192.168.0.1:"),
    ("launch", "-n 1 --address 127.0.0.1:0 -- true", "from 1 to 65535"),
    ("launch", "-n 1 --address 192.0.2.1:9 -- true", "cannot listen at 192.0.2.1:9 of "),
    ("launch", "-n 1 --python python3 -- true", "--python requires --hosts"),
    ("launch", "-- true", "--num-workers N is required"),
])
def test_bad_input_is_said_in_one_line(capsys, name, line, complaint):
    errors, printed = refusal(capsys, name, line.split())
    assert complaint in errors and not printed


@pytest.mark.parametrize("size, line, complaint", [
    (2, "", "1 process for the scheduler, 1 for servers and 1 or more for workers, found 2"),
    (4, "-s 3", "3 for servers"),
    (4, "-n 3", "3 for workers, found 4"),
    (3, "", "expected --address IP:PORT"),
    (3, "--hosts x", "--hosts cannot be used with mpirun or srun"),
    (3, "--address 192.0.2.1:9", "the scheduler cannot listen at 192.0.2.1:9 of "),
])
def test_bad_input_under_mpirun_is_said_in_one_line(capsys, monkeypatch, size, line, complaint):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", str(size))
    assert complaint in refusal(capsys, "launch", [*line.split(), "--", "true"])[0]


def test_relative_paths_in_a_deleted_folder_are_named(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder / "folder")
    (folder / "folder").rmdir()
    errors, _ = refusal(capsys, "train", ["--save", "model.npz"])
    assert "model.npz: the current folder has been deleted" in errors


ANOTHER = gzip.compress(b"another data set")


@pytest.mark.parametrize("content, message", [
    (ANOTHER, "train-images-idx3-ubyte.gz is intact but not MNIST's"),
    (ANOTHER[:-5], "could not be downloaded"),
    (b"", "train-images-idx3-ubyte.gz (wrong SHA-256) could not be downloaded"),
    (None, "train-images-idx3-ubyte.gz (missing) could not be downloaded"),
], ids=["another", "cut", "empty", "absent"])
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_wrong_data_files_get_one_line(capsys, monkeypatch, content, message, dataset):
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    paths = [pathlib.Path("folder", name) for name in mnist.FILES]
    if content is not None:
        for path in paths:
            path.write_bytes(content)
    line = ["--data-dir", "folder", "--dataset", dataset, "--num-hidden", "4", "--epochs", "1"]
    code = COMMANDS["train"].main(line)
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    if "download" in message and dataset == "auto":
        assert code == 0 and errors.startswith("warning: THIS IS NOT MNIST")
    else:
        assert code == (1 if "download" in message else 2) and errors.startswith("error: ")
    assert {path.read_bytes() if path.exists() else None for path in paths} == {content}

"""Bad command lines, made from what ``--help`` says of each command, and bad data files."""

import contextlib
import gzip
import importlib
import io
import os
import pathlib
import re
from random import Random

import matplotlib
import pytest

from mlp_mx import checkpoint, model
from mlp_mx._support import cli
from mlp_mx._support.files import open_regular
from mlp_mx.data import mnist
from mlp_mx.runtime import __main__ as runtime_command

LINES = int(os.environ.get("MLP_MX_COMMAND_LINES", 100))
# Those with options of their own.
COMMANDS = {name: importlib.import_module(f"mlp_mx.{name}.__main__")
            for name in ("train", "evaluate", "predict", "export", "launch")}
NETWORK = model.init_params(num_hidden=4, seed=0)
# By the names of options; there are folder, folder.npz, text.txt, damaged.npz and good.npz.
BAD_FILES = {
    "save": ["folder", "text.txt", "absent/model.npz", "folder.npz", "model.npz/model.npz"],
    "resume": ["absent.npz", "absent\n.npz", "folder.npz", "text.txt", "damaged.npz", "good.npz",
               "a.params"],
    "log": ["folder", "absent/log", "text.txt", "damaged.npz"],
    "data_dir": [],
    "model": ["absent.npz", "folder.npz", "text.txt", "damaged.npz"],
    "out": ["folder", "text.txt", "absent/model.onnx"],
    "plot": ["folder", "text.txt", "absent/curves.png", "curves.gif"],
    "image": [],
}
BAD_CONTEXTS = ["", "gpu:", "gpu:-1", "gpu:9999", "cpu:x", "GPU", "gpu:0:1"]
BAD_VALUES = ["", "x", "two\nlines", "nan", "inf", "-1", "1e30", "9" * 5000, "½", "0x10"]
BAD_WORDS = ["--no-such-option", "--no-such\noption", "--epoch=1", "-x", "--help=1"]
GOOD = {
    "dataset": "glyphs", "model": "good.npz", "out": "out.onnx", "command": "true", "epochs": "1",
    "num_workers": "1", "num_servers": "1", "batch_size": "64", "learning_rate": "0.001",
    "weight_scale": "0.01", "seed": "0", "ctx": "cpu", "num_hidden": "4",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, few_glyphs):
    """A current folder with files that must be refused, and a small data set."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.npz"):
        os.mkdir(name)
    (tmp_path / "text.txt").write_text("text\n")
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4\x80damaged")
    checkpoint.save("good.npz", NETWORK, dataset="glyphs")
    return tmp_path


def refusal(capsys, name, line):
    """Run a command that must refuse its line; return its one-line message, and its output."""
    try:
        code = COMMANDS[name].main(line)
    except SystemExit as exit:  # argparse's way out
        code = exit.code
    printed, errors = capsys.readouterr()
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    return errors, printed


def table(command):
    """What ``--help`` says that a command takes: options with a value, and the other arguments."""
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        command.main(["--help"])
    options = re.findall(r"^  (?:-\w(?: [A-Z]+)?, )?(--[a-z-]+) [A-Z{]", shown.getvalue(), re.M)
    return [*re.findall(r"^  ([A-Z]+)\b", shown.getvalue(), re.M), *options]


def key(argument):
    return argument.strip("-").replace("-", "_").lower()


def bad_values(name):
    """Values that an option must refuse."""
    if name == "command":
        return ["absent-program"]
    if name in BAD_FILES:
        return ["", "\0", *BAD_FILES[name]]
    return BAD_CONTEXTS if name == "ctx" else BAD_VALUES


def word(argument, value):
    return f"{argument}={value}" if argument.startswith("-") else value


def arguments(command):
    """What a command takes and what it must refuse, by the names of its options."""
    found = table(command)
    good = {key(argument): word(argument, GOOD[key(argument)])
            for argument in found if key(argument) in GOOD}
    bad = [(key(argument), word(argument, value))
           for argument in found for value in bad_values(key(argument))]
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
    ("train", "--epoch 1", "unrecognized arguments: --epoch 1 (did you mean --epochs? --help"),
    ("train", "--lr=0.1", "unrecognized arguments: --lr=0.1 (did you mean --learning-rate? --help"),
    ("train", "--teacher", "unrecognized arguments: --teacher (--help lists the options)"),
    ("train", "--dataset glyphs --epochs 1 --save model.params", "nd.save('model.params', "),
    ("train", "--resume a.params", "--resume a.params: models are saved as .npz; name a file with"),
    ("evaluate", "good.npz --data-set glyphs", "did you mean --dataset?"),
    ("launch", "-n 0 -- true", "expected a whole number from 1"),
    ("launch", "-n 1 -s 0 -- true", "argument -s/--num-servers: expected a whole number from 1"),
    ("launch", "-n 1", "required: COMMAND"),
    ("launch", "-n 1 --address 127.0.0.1 -- true", "such as 192.168.0.1:9100"),
    ("launch", "-n 1 --address host:80 -- true", "such as 192.168.0.1:"),
    ("launch", "-n 1 --address 127.0.0.1:0 -- true", "such as 192.168.0.1:"),
    ("launch", "-n 1 --address 0.0.0.0:9100 -- true", "such as 192.168.0.1:"),
    ("launch", "-n 1 --address 192.0.2.1:9 -- true", "cannot listen at 192.0.2.1:9 on "),
    ("launch", "-- true", "--num-workers N is required"),
])
def test_bad_input_is_said_in_one_line(capsys, name, line, complaint):
    errors, printed = refusal(capsys, name, line.split())
    assert complaint in errors and not printed


@pytest.mark.parametrize("rank, size, line, complaint", [
    ("0", "2", "", "1 process for the scheduler, 1 for servers and 1 to 1000 for workers, found 2"),
    ("0", "4", "-s 3", "3 for servers"),
    ("0", "4", "-n 3", "3 for workers, found 4"),
    ("0", "99999999", "", "1 to 1000 for workers, found 99999999"),
    ("0", "3", "", "--address IP:PORT is required"),
    ("0", "3", "--address 192.0.2.1:9", "the scheduler cannot listen at 192.0.2.1:9 on "),
    *((rank, size, "", f"expected a rank of at least 0 .* found {rank!r} and {size!r}")
      for rank, size in [("x", "3"), ("9", "3"), ("3", "3"), ("-1", "3"), ("", "3"), ("1.", "3"),
                         ("0", "x"), ("0", "-1"), ("0", ""), ("0", "0"), ("0", "9" * 5000)]),
])
def test_bad_input_under_mpirun_is_said_in_one_line(
    capsys, monkeypatch, rank, size, line, complaint
):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", rank)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", size)
    assert re.search(complaint, refusal(capsys, "launch", [*line.split(), "--", "true"])[0])


@pytest.mark.parametrize("name, options", [
    ("train", {"num_hidden", "resume", "plot", "ctx"}), ("evaluate", {"model", "dataset"}),
    ("predict", {"image", "samples"}), ("export", {"out"}), ("launch", {"num_workers", "command"}),
])
def test_the_table_has_what_help_says(name, options):
    assert options <= {key(argument) for argument in table(COMMANDS[name])}


def test_relative_paths_in_a_deleted_folder_are_named(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder / "folder")
    (folder / "folder").rmdir()
    errors, _ = refusal(capsys, "train", ["--save", "model.npz"])
    assert "model.npz: the current folder has been deleted" in errors
    monkeypatch.setenv("MXNET_HOME", "home")
    for variable, path in ("MLP_MX_DATA", "data"), ("MLP_MX_DATA", ""):
        monkeypatch.setenv(variable, path)
        errors, _ = refusal(capsys, "train", ["--dataset", "mnist"])
        assert f"error: {path or 'home/datasets/mnist'}: the current folder has been" in errors


def test_without_a_home_no_folder_is_called_tilde(capsys, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    for name in ("MLP_MX_DATA", "MXNET_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    errors, _ = refusal(capsys, "train", ["--dataset", "mnist"])
    assert errors == ("error: ~/.mxnet/datasets/mnist: no home folder found; set HOME, or choose "
                      "another folder with --data-dir or MLP_MX_DATA\n")
    assert runtime_command.main([]) == 0  # the report is for such machines
    assert re.search(r"data directory: +not examined: ~/", capsys.readouterr().out)


def test_characters_that_control_a_terminal_do_not_reach_it(capsys, folder):
    name = "\033]0;title\a\x9b2J\u202e\udce9.npz"
    errors, _ = refusal(capsys, "train", ["--resume", name])
    assert r"\x1b]0;title\x07\x9b2J\u202e\udce9.npz cannot be read" in errors
    checkpoint.save("good.npz", NETWORK, dataset="\033[2J")
    errors, _ = refusal(capsys, "evaluate", ["good.npz"])
    assert r"trained on \x1b[2J; name that folder with --data-dir" in errors
    for _ in range(2):  # the second replaces the first
        assert COMMANDS["train"].main(
            ["--dataset", "glyphs", "--epochs", "1", "--num-hidden", "4", "--save", name]) == 0
        assert capsys.readouterr().out.endswith(rf"saved as {cli.printable(name)}" + "\n")


def test_a_file_larger_than_the_memory_is_named(capsys, monkeypatch):
    def read(path):
        with open_regular(path):
            raise MemoryError

    monkeypatch.setattr(mnist, "fetch", lambda *arguments: read("text.txt"))
    assert COMMANDS["train"].main(["--dataset", "mnist"]) == 1
    assert capsys.readouterr().err == "error: text.txt: Cannot allocate memory\n"


@pytest.mark.parametrize("setting, suffix, reason", [
    ("SOURCE_DATE_EPOCH=abc", "svg", "invalid literal for int"),
    ("SOURCE_DATE_EPOCH=abc", "pdf", "invalid literal for int"),
    ("axes.prop_cycle: cycler('color', [])", "png", "integer modulo by zero|integer division"),
    ("font.size: 1e9", "png", "invalid pixel size"),
    ("savefig.pad_inches: 100000", "png", "is too large"),
])
def test_what_makes_matplotlib_fail_fails_before_training(
    capsys, folder, monkeypatch, setting, suffix, reason
):
    if ": " in setting:
        (folder / "matplotlibrc").write_text(setting)
        context = matplotlib.rc_context(fname=folder / "matplotlibrc")
    else:
        monkeypatch.setenv(*setting.split("="))
        context = contextlib.nullcontext()
    with context:
        errors, printed = refusal(capsys, "train", ["--plot", f"curves.{suffix}"])
    assert errors.startswith("error: Matplotlib cannot draw with the settings in ")
    assert re.search(reason, errors) and printed == ""


ANOTHER = gzip.compress(b"another data set")


@pytest.mark.parametrize("content, message", [
    (ANOTHER, "train-images-idx3-ubyte.gz is intact but is not MNIST's"),
    (ANOTHER[:-5], "could not be downloaded"),
    (b"", "train-images-idx3-ubyte.gz (wrong size) could not be downloaded"),
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

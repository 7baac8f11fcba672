"""The commands as their users meet them: in processes, pipes, terminals and the README."""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import textwrap

import pytest

import small_run
from mlp_mx import __version__, checkpoint, data, model
from mlp_mx.__main__ import main
from mlp_mx.data import mnist
from mlp_mx.runtime import nd
from mlp_mx.train import __main__ as train_command
from mlp_mx.train import record

ROOT = pathlib.Path(__file__).parents[1]


# A process of root may write everywhere, unless it gives that up.
AS_A_USER = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.mark.slow
def test_a_run_with_a_home_and_data_that_nobody_can_write_to(tmp_path, mnist_dir):
    home, work, shared = folders = [tmp_path / name for name in ("home", "work", "shared")]
    for folder in folders:
        folder.mkdir()
    for name in mnist.FILES:
        shutil.copyfile(mnist_dir / name, shared / name)
        (shared / name).chmod(0o444)
    home.chmod(0o555)
    shared.chmod(0o555)
    result = subprocess.run(
        [*(AS_A_USER if os.geteuid() == 0 and shutil.which("setpriv") else []),
         sys.executable, "-m", "mlp_mx.train", "--epochs", "1", "--data-dir", shared,
         "--ctx", "cpu", "--save", "model.npz"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)},
        cwd=work, capture_output=True, text=True, timeout=300)
    shared.chmod(0o755)  # so that pytest can remove it
    assert re.fullmatch(
        r"MNIST: 60000 training and 10000 test examples, on cpu\(0\)\n"
        r"Epoch 0\. Loss: \d\.\d+, Train_acc 0\.\d+, Test_acc 0\.\d+\n"
        r"MNIST test accuracy after epoch 0: 0\.8\d{3} "
        r"\(published for the chapter's settings: 0\.8787 and 0\.8877\)\n"
        r"saved as model.npz\n", result.stdout)
    assert (result.returncode, result.stderr) == (0, "")  # no bar where there is no terminal
    assert sorted(path.name for path in shared.iterdir()) == sorted(mnist.FILES)
    assert (work / "model.npz").exists()


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="this is root")
def test_without_permission_nothing_is_trained(tmp_path):
    paths, folder = [], tmp_path / "folder"
    for option, suffix in ("save", "npz"), ("log", "jsonl"), ("plot", "png"):
        kept = tmp_path / f"kept.{suffix}"
        kept.touch(0o444)
        paths += [(option, kept), (option, folder / f"new.{suffix}")]
    folder.mkdir(0o555)
    program = ("import sys, small_run; small_run.glyphs.load = lambda *a: small_run.SPLITS; "
               "from mlp_mx.train.__main__ import main; "
               "codes = [main([*line.split(' ', 1), '--dataset', 'glyphs']) "
               "for line in sys.argv[1:]]; sys.exit(2 if codes == 6 * [2] else str(codes))")
    result = subprocess.run(
        [*(AS_A_USER if os.geteuid() == 0 else []), sys.executable, "-c", program,
         *(f"--{option} {path}" for option, path in paths)],
        cwd=ROOT / "tests", capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"error: {path} cannot be written: Permission denied" for _, path in paths]
    assert {*tmp_path.iterdir()} == {folder, *(path for _, path in paths[::2])}
    assert not [*folder.iterdir()]


@pytest.mark.parametrize("option, default", [
    ("ctx", "auto"), ("dataset", "auto"), ("epochs", 10), ("batch-size", 64),
    ("learning-rate", 0.001), ("num-hidden", 256), ("weight-scale", 0.01), ("seed", 0)])
def test_help_names_every_default_once(capsys, option, default):
    with pytest.raises(SystemExit, match="^0$"):
        train_command.main(["--help"])
    text = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    said = re.split(r" --[a-z-]+ [A-Z{]", text.partition(f" --{option} ")[2])[0]
    assert said.count("default") == 1 and f"(default: {default})" in said


@pytest.mark.parametrize("arguments", [
    ["-m", "mlp_mx", "train", "--epochs", "0"], ["-m", "mlp_mx.train", "--epochs", "0"],
    ["-c", "import sys; from mlp_mx.__main__ import main; sys.exit(main())", "train",
     "--epochs", "0"],  # the script that is installed as mlp_mx
])
def test_python_m_mlp_mx_runs_a_command(python, arguments):
    result = python(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: argument --epochs: expected a whole number from 1")


def test_the_package_lists_its_commands_and_runs_each(capsys):
    assert main([]) == 0
    listed = re.findall(r"^  (\w+) +[a-z]", capsys.readouterr().out.partition("commands")[2], re.M)
    assert listed == ["train", "evaluate", "predict", "export", "launch", "runtime"]
    for command in listed:
        with pytest.raises(SystemExit, match="^0$"):
            main([command, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: python -m mlp_mx.{command} ")
    for words in ["--version"], ["train", "--version"], ["evaluate", "--version"]:
        with pytest.raises(SystemExit, match="^0$"):
            main(words)
        assert capsys.readouterr().out == f"mlp_mx {__version__}\n"


@pytest.mark.parametrize("arguments, message", [
    (["mlp_mx", "tran"], "unknown command 'tran' (did you mean train? python -m mlp_mx lists the"),
    (["mlp_mx", "cook"], "unknown command 'cook' (python -m mlp_mx lists the commands)"),
    (["mlp_mx.tran", "-m", "mlp_mx.train"], "mlp_mx.tran is not a command (did you mean train? "),
    (["mlp_mx.model"], "mlp_mx.model is not a command (python -m mlp_mx lists the commands)"),
    (["mlp_mx.train.record", "--help"], "mlp_mx.train.record is not a command ("),
])
@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not say what it runs")
def test_what_is_no_command_is_said_in_one_line(python, arguments, message):
    result = python("-m", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}") and result.stderr.count("\n") == 1


def test_the_readmes_python_runs(mnist_loaders, monkeypatch, capsys):
    """The chapter in Python, by its own loop and by `fit`, in one epoch of fewer, larger steps."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)",
                        (ROOT / "README.rst").read_text())[:2]
    code = "".join(map(textwrap.dedent, blocks))
    code, count = re.subn(r"(epochs=|range\()10\b", r"\g<1>1", code)
    assert count == 2
    code, count = re.subn(r"\b0\.001\b", "0.005", code)
    assert count == 2
    few = [data.ArrayLoader(loader.data[:number], loader.label[:number], 64, 0, "MNIST")
           for loader, number in zip(mnist_loaders, (12800, 2000))]
    monkeypatch.setattr(data, "load", lambda *arguments, **options: few)
    exec(code, {"__name__": "readme"})
    by_loop, by_fit = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert 0.8 < by_loop < 0.95 and abs(by_fit - by_loop) < 2e-3


@pytest.fixture
def saved(tmp_path, few_glyphs, capsys):
    """A model after four epochs."""
    path = tmp_path / "model.npz"
    assert train_command.main(["--dataset", "glyphs", "--epochs", "4", "--num-hidden", "32",
                               "--learning-rate", "0.01", "--weight-scale", "0.1",
                               "--save", str(path)]) == 0
    capsys.readouterr()
    return path


def test_evaluate_finds_the_recorded_accuracy_and_fails_if_it_is_another(saved, capsys):
    params, metadata = checkpoint.load(saved)
    train_accuracy, test_accuracy = metadata["train_accuracy"], metadata["test_accuracy"]
    assert train_accuracy > 0.5
    assert main(["evaluate", str(saved)]) == 0
    printed, errors = capsys.readouterr()
    assert errors == "" and printed.splitlines()[1:] == [
        f"training accuracy: {train_accuracy:.5f} (recorded: {train_accuracy:.5f})",
        f"test accuracy:     {test_accuracy:.5f} (recorded: {test_accuracy:.5f})"]
    params[0][:] = 0  # now all images are alike
    checkpoint.save(saved, params, **metadata)
    assert main(["evaluate", str(saved)]) == 1
    printed, errors = capsys.readouterr()
    assert f"(recorded: {test_accuracy:.5f})" in printed and errors.count("\n") == 1
    assert re.match(rf"error: {saved}: its training accuracy is 0\.[01]\d+, but "
                    rf"{train_accuracy:.5f} is recorded and its test accuracy is ", errors)
    for wrong in {"train_accuracy": "1", "test_accuracy": [1]}, {
            "train_accuracy": 10**400, "test_accuracy": -1}:
        checkpoint.save(saved, params, **{**metadata, **wrong})
        assert main(["evaluate", str(saved)]) == 0
        assert capsys.readouterr().out.count("(none recorded)") == 2
    checkpoint.save(saved, params[-2:], dataset="glyphs")
    assert main(["evaluate", str(saved)]) == 2
    assert "expected a network with 784 inputs and 10 outputs for glyphs, found 32 and 10" in (
        capsys.readouterr().err)
    checkpoint.save(saved, [nd.zeros((784, 10)), nd.arange(10)], dataset="glyphs")
    assert main(["evaluate", str(saved)]) == 0  # of another depth
    nines = (small_run.SPLITS[1][1] == 9).mean()
    assert f"test accuracy:     {nines:.5f} (none" in capsys.readouterr().out


def test_evaluate_prints_the_published_accuracy_beside_mnists(
    mnist_loaders, monkeypatch, tmp_path, capsys
):
    def load(*arguments, **options):
        assert arguments == ("mnist", "folder")
        return mnist_loaders

    monkeypatch.setattr(data, "load", load)
    path, params = str(tmp_path / "model.npz"), model.init_params(num_hidden=8)
    checkpoint.save(path, params, dataset="MNIST", epoch=8)
    assert main(["evaluate", path, "--data-dir", "folder"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == (
        "MNIST: 60000 training and 10000 test examples, on cpu(0)")
    assert re.search(r"^training accuracy: 0\.\d{5} \(none recorded; published for the chapter's "
                     r"settings: 0\.98593 and 0\.98472\)$", printed, re.M)
    assert re.search(r"^test accuracy:     0\.\d{5} \(.*: 0\.9728 and 0\.9728\)$", printed, re.M)
    checkpoint.save(path, params, dataset="MNIST", epoch=-20)
    assert main(["evaluate", path, "--data-dir", "folder"]) == 0
    assert "0.9754 and 0.9751" in capsys.readouterr().out  # after the last epoch


@pytest.mark.parametrize("redirection, code, message", [
    (" | head -1; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, b""),
    pytest.param(" >/dev/full", 1, b"error: standard output: No space left on device\n",
                 marks=pytest.mark.slow)])
def test_evaluate_in_pipes(tmp_path, redirection, code, message):
    path = tmp_path / "model.npz"
    checkpoint.save(path, model.init_params(num_hidden=8), dataset="glyphs")
    arguments = f"['evaluate', {str(path)!r}]"
    program = (f"import small_run; small_run.glyphs.load = lambda *a: small_run.SPLITS; "
               f"from mlp_mx.__main__ import main; raise SystemExit(main({arguments}))")
    result = subprocess.run(f'{sys.executable} -c "{program}"{redirection}', shell=True,
                            executable="/bin/bash", cwd=ROOT / "tests", capture_output=True)
    assert (result.returncode, result.stderr) == (code, message)


def test_diverging_training_ends_with_exit_code_1(capsys, few_glyphs):
    assert train_command.main(["--learning-rate", "1e6", "--dataset", "glyphs"]) == 1
    assert re.fullmatch(r"error: the loss is not finite in epoch 0: .*\n",
                        capsys.readouterr().err)


def test_a_closed_pipe_ends_the_run_without_a_traceback_and_keeps_the_model(tmp_path):
    command = [*small_run.COMMAND, "--epochs", "1000", "--save", tmp_path / "model.npz"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as training:
        for _ in range(2):  # what is trained on what, and an epoch
            training.stdout.readline()
        training.stdout.close()
        assert training.wait(timeout=30) == 128 + signal.SIGPIPE
        assert training.stderr.read() == b""
    assert checkpoint.load(tmp_path / "model.npz")[1]["epoch"] >= 0


def test_a_log_on_a_disk_that_fills_is_not_cut_silently(tmp_path, few_glyphs, capsys):
    """Of four lines, some 270 bytes each, three and a part fit into the 1024 bytes."""
    path = tmp_path / "log"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        code = train_command.main(["--dataset", "glyphs", "--num-hidden", "64", "--epochs", "4",
                                   "--log", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    printed, errors = capsys.readouterr()
    problem = f"{path} cannot be written: File too large\n"
    assert (code, errors) == (1, f"warning: {problem}error: {problem}")
    assert printed.count("Epoch") == 4
    assert [line["epoch"] for line in record.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("line", [
    "export absent.npz a.onnx 2>/dev/full", "export absent.npz a.onnx 2>&-",
    "train --epochs 0 2>/dev/full", "train --epochs 0 2>&-"])
def test_messages_that_nobody_can_read_change_nothing(line):
    result = subprocess.run(f"{sys.executable} -m mlp_mx.{line}", shell=True,
                            stdout=subprocess.PIPE, timeout=60)
    assert (result.returncode, result.stdout) == (2, b"")


def test_a_terminal_gets_a_progress_bar():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [*small_run.COMMAND, "--epochs", "1", "--batch-size", "32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(ours, 10000):
                shown += part
    os.close(ours)
    assert re.search(rb"epoch 0: +\d+%.*/21 ", shown)

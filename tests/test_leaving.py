"""The programs of ``docs/leaving.rst``, which need only the network's file."""

import importlib.util
import pathlib
import re
import textwrap

import pytest

from mlp_mx import checkpoint, model, train
from mlp_mx.export import __main__ as export_command
from mlp_mx.runtime import nd

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
PROGRAMS = ROOT / "examples" / "leaving"


@pytest.fixture(scope="module")
def saved(mnist_loaders, tmp_path_factory):
    """The file of a network trained for an epoch, and its test accuracy."""
    path = tmp_path_factory.mktemp("leaving") / "model.npz"
    params = model.init_params(seed=0)
    record, = train.fit(params, *mnist_loaders, epochs=1)
    checkpoint.save(path, params)
    return path, record.test_accuracy


@pytest.fixture
def accuracy(python):
    """Run a program, and return the accuracy that it prints."""

    def run(name, *arguments):
        library = name.split("_")[0].replace("onnx", "onnxruntime").replace("gluon", "mxnet")
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
        result = python(PROGRAMS / name, *arguments, PYTHONDONTWRITEBYTECODE="1")
        assert result.returncode == 0, result.stderr  # libraries may have warnings of their own
        return float(re.fullmatch(r"test accuracy (\S+)\n", result.stdout)[1])

    return run


# One image of the 10 000 may lie so close between two classes that rounding decides.
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "onnx", "gluon"])
def test_other_libraries_have_the_same_accuracy(saved, accuracy, mnist_dir, tmp_path, library):
    path, expected = saved
    if library == "onnx":
        pytest.importorskip("onnx")
        assert export_command.main([str(path), str(tmp_path / "model.onnx")]) == 0
        path = tmp_path / "model.onnx"
    assert accuracy(f"{library}_predict.py", path, mnist_dir) == pytest.approx(expected, abs=1.5e-4)


def test_numpy_trains_as_the_chapter_does(saved, python, mnist_dir, mnist_loaders, tmp_path):
    new = tmp_path / "new.npz"
    result = python(PROGRAMS / "numpy_train.py", mnist_dir, new, 1, PYTHONDONTWRITEBYTECODE="1")
    assert (result.returncode, result.stderr) == (0, "")
    loss, accuracy = re.fullmatch(r"epoch 0, loss (\S+), test accuracy (\S+)\n",
                                  result.stdout).groups()
    assert loss == "1.2501" and float(accuracy) == pytest.approx(saved[1], abs=3e-4)
    params, metadata = checkpoint.load(new)
    assert metadata == {}
    for param, expected, start in zip(params, checkpoint.load(saved[0])[0],
                                      model.init_params(seed=0)):
        difference, way = ((array - expected).norm().asscalar() for array in (param, start))
        assert difference < 0.05 * way  # rounding, in 938 steps


def test_torch_trains_on_and_the_network_comes_back(
    saved, accuracy, mnist_dir, mnist_loaders, tmp_path
):
    path, before = saved
    printed = accuracy("torch_train.py", path, mnist_dir, tmp_path / "new.npz")
    assert printed > before + 0.01  # the published second epochs gained 0.050 and 0.037
    params, metadata = checkpoint.load(tmp_path / "new.npz")
    assert train.evaluate_accuracy(mnist_loaders[1], params) == pytest.approx(printed, abs=1.5e-4)
    assert metadata == {}


@pytest.mark.filterwarnings("ignore:.*no checksum")
def test_gluon_trains_and_the_docs_bring_the_network_in_and_out(
    accuracy, mnist_dir, mnist_loaders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    printed = accuracy("gluon_train.py", mnist_dir, "gluon.params")
    assert printed > 0.85  # as after the published first epoch
    text = (ROOT / "docs" / "leaving.rst").read_text()
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    blocks = [textwrap.dedent(block) for block in blocks if ".params" in block]
    assert len(blocks) == 2
    for block in blocks:  # in, and out
        exec(block, {})
    expected = pytest.approx(printed, abs=1.5e-4)
    for path in ("model.npz", "model.params"):
        params, _ = checkpoint.load(path)
        assert train.evaluate_accuracy(mnist_loaders[1], params) == expected
    assert accuracy("gluon_predict.py", "model.npz", mnist_dir) == expected
    assert set(nd.load("model.params")) == set(checkpoint.names(6))


def test_the_docs_show_the_programs_which_need_neither_mxnet_nor_this_package():
    docs = ROOT / "docs" / "leaving.rst"
    shown = re.findall(r"^\.\. literalinclude:: (.*)$", docs.read_text(), re.MULTILINE)
    assert {(docs.parent / path).resolve() for path in shown} == set(PROGRAMS.glob("*.py"))
    for path in PROGRAMS.glob("*.py"):
        if path.name.startswith(("gluon", "mxnet")):  # which are about MXNet's own files
            continue
        assert not re.search(r"^\s*(import|from) (mxnet|mlp_mx)", path.read_text(), re.MULTILINE)

"""The example that shows what the model gets wrong, run from another folder than its own."""

import pathlib
import re

import matplotlib.image
import pytest

from mlp_mx import checkpoint, model
from mlp_mx.runtime import nd

pytestmark = pytest.mark.slow

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "misclassified.py"


@pytest.fixture
def example(python, mnist_dir, monkeypatch, tmp_path):
    """Run the example in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: python(
        EXAMPLE, *arguments, MLP_MX_DATA=str(mnist_dir), PYTHONPATH=str(EXAMPLE.parents[1])
    )


def test_misclassified_trains_prints_and_draws(example, tmp_path):
    result = example("--epochs", "1")
    assert (result.returncode, result.stderr) == (0, "")
    accuracy = float(re.search(r"Epoch 0\. Test_acc (.*)", result.stdout)[1])
    wrong = int(re.search(r"(\d+) of 10000 test digits are wrong", result.stdout)[1])
    assert wrong == round(10000 * (1 - accuracy))
    confusions = re.findall(r"(\d) is taken for (\d): (\d+) times", result.stdout)
    times = [int(confusion[2]) for confusion in confusions]
    assert len(times) == 5 and times == sorted(times, reverse=True) and sum(times) <= wrong
    assert all(truth != prediction for truth, prediction, _ in confusions)
    for name in ("confusion.png", "mistakes.png"):
        assert min(matplotlib.image.imread(tmp_path / name).shape[:2]) > 400


def test_misclassified_takes_a_saved_model(example, tmp_path):
    checkpoint.save(tmp_path / "model.npz", model.init_params(num_hidden=8, seed=0))
    result = example("--model", "model.npz")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Epoch" not in result.stdout and (tmp_path / "mistakes.png").exists()


@pytest.mark.parametrize("arguments, message", [
    (["--model", "absent.npz"], "error: absent.npz cannot be read: No such file or directory\n"),
    (["--out", "absent"],
     "error: absent/confusion.png cannot be written: No such file or directory\n"),
])
def test_misclassified_refuses_in_one_line(example, arguments, message):
    result = example(*arguments)
    assert (result.returncode, result.stderr) == (2, message)


def test_misclassified_refuses_another_network(example, tmp_path):
    params = [nd.ones(shape) for shape in ((784, 10), (10,))]
    checkpoint.save(tmp_path / "model.npz", params)
    result = example("--model", "model.npz")
    assert result.returncode == 2
    assert re.fullmatch("error: model.npz: expected the chapter's network, .*\n", result.stderr)

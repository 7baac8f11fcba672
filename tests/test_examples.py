"""The examples, run from another folder than their own."""

import pathlib
import re

import matplotlib.image
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(python, mnist_dir, monkeypatch, tmp_path):
    """Run an example for one epoch, in an empty folder and without a display."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        environment = {"MLP_MX_DATA": str(mnist_dir), "MPLBACKEND": "agg",
                       "PYTHONPATH": str(EXAMPLES.parent)}
        result = python(EXAMPLES / name, "--epochs", "1", **environment)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    return run


def test_train_mnist_trains(example):
    printed = re.fullmatch(r"Epoch 0\. Loss: (.*), Train_acc (.*), Test_acc (.*)\n",
                           example("train_mnist.py"))
    loss, train_accuracy, test_accuracy = map(float, printed.groups())
    assert loss == pytest.approx(1.23, rel=0.06)  # the published 1.2515 and 1.2078
    assert train_accuracy > 0.85 and test_accuracy > 0.85


def test_predict_digits_predicts_and_draws(example, tmp_path):
    printed = example("predict_digits.py")
    predictions, labels = re.findall(r": \[((?:\d ?){10})\]", printed)
    right = sum(a == b for a, b in zip(predictions.split(), labels.split()))
    assert right >= 5  # of ten random digits, at an accuracy of some 0.88
    picture = matplotlib.image.imread(tmp_path / "digits.png")
    assert picture.shape[1] > 5 * picture.shape[0]  # a strip
    assert "digits.png" in printed

"""The examples, run from another folder than their own."""

import json
import pathlib
import re

import matplotlib.image
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(python, monkeypatch, tmp_path):
    """Run an example in an empty folder and without a display: ``example(name, *arguments)``."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments, **environment):
        environment = {"MPLBACKEND": "agg", "PYTHONPATH": str(EXAMPLES.parent), **environment}
        return python(EXAMPLES / name, *arguments, **environment)

    return run


def succeed(result):
    """The output of an example that said nothing on standard error."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_train_mnist_trains(example, mnist_dir):
    printed = succeed(example("train_mnist.py", "--epochs", "1", MLP_MX_DATA=str(mnist_dir)))
    printed = re.fullmatch(r"Epoch 0\. Loss: (.*), Train_acc (.*), Test_acc (.*)\n", printed)
    loss, train_accuracy, test_accuracy = map(float, printed.groups())
    assert loss == pytest.approx(1.23, rel=0.06)  # the published 1.2515 and 1.2078
    assert train_accuracy > 0.85 and test_accuracy > 0.85


def check_predictions(printed, tmp_path):
    """Check that ten digits were predicted, mostly correctly, and drawn."""
    predictions, labels = re.findall(r": \[((?:\d ?){10})\]", printed)
    correct = sum(a == b for a, b in zip(predictions.split(), labels.split()))
    assert correct >= 5  # of ten random digits, at an accuracy of some 0.88
    picture = matplotlib.image.imread(tmp_path / "digits.png")
    assert picture.shape[1] > 5 * picture.shape[0]  # a strip
    assert "digits.png" in printed


def test_predict_digits_predicts_and_draws(example, mnist_dir, tmp_path):
    printed = succeed(example("predict_digits.py", "--epochs", "1", "--dataset", "mnist",
                              "--data-dir", mnist_dir, MPLBACKEND="pdf"))
    check_predictions(printed, tmp_path)


def test_predict_digits_works_on_glyphs(example, tmp_path):
    printed = succeed(example("predict_digits.py", "--epochs", "1", "--dataset", "glyphs",
                              "--data-dir", tmp_path, MPLBACKEND="svg"))
    check_predictions(printed, tmp_path)


@pytest.mark.parametrize("name", ["predict_digits.py", "misclassified.py"])
def test_examples_refuse_in_one_line(example, name):
    result = example(name, "--dataset", "cats")
    assert result.returncode == 2 and result.stdout == ""
    assert re.fullmatch(r"error: argument --dataset: invalid choice: 'cats'.*\n", result.stderr)


def write_log(path, num_hidden, seed, accuracies):
    """Add a run of `len(accuracies)` epochs to a log."""
    settings = {"dataset": "MNIST", "num_hidden": num_hidden, "seed": seed}
    with open(path, "a") as file:
        for epoch, accuracy in enumerate(accuracies):
            settings["epochs"] = epoch + 1  # as if each were resumed
            results = {"epoch": epoch, "loss": 1 - accuracy, "train_accuracy": accuracy,
                       "test_accuracy": accuracy, "seconds": 1}
            file.write(json.dumps({**settings, **results}) + "\n")


def test_compare_runs_draws_a_line_for_each_setting(example, tmp_path):
    write_log("small.jsonl", 16, 0, [0.5, 0.7])
    write_log("large.jsonl", 64, 0, [0.6, 0.80])
    write_log("large.jsonl", 64, 1, [0.6, 0.84])
    printed = succeed(example("compare_runs.py", "small.jsonl", "large.jsonl", "--out", "out.svg"))
    assert printed.splitlines() == [
        "num hidden 16: test accuracy 0.7000 after epoch 1, 1 seed",
        "num hidden 64: test accuracy 0.8200 after epoch 1, 2 seeds",
        "drawn: out.svg",
    ]
    assert (tmp_path / "out.svg").read_text().count("<!-- num hidden") == 2  # in the legend


@pytest.mark.parametrize("arguments, message", [
    (["absent.jsonl"], "error: absent.jsonl cannot be read: No such file or directory\n"),
    (["empty.jsonl"], "error: no epochs in empty.jsonl; train with --log first\n"),
    (["other.jsonl"], "error: other.jsonl: expected a log of mlp_mx.train, each line with epoch, "
     "loss, train_accuracy, test_accuracy, seconds; name another file\n"),
])
def test_compare_runs_refuses_in_one_line(example, tmp_path, arguments, message):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "other.jsonl").write_text('{"epoch": [1]}\n')
    result = example("compare_runs.py", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message)

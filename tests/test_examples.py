"""The examples, run in an empty folder. Some others have tests of their own."""

import json
import pathlib
import re
import runpy
import webbrowser

import matplotlib
import matplotlib.image
import pytest

from mlp_mx import checkpoint, data, model
from mlp_mx.runtime import nd

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def loaders(mnist_dir):
    return data.load("mnist", mnist_dir)


@pytest.fixture
def example(capsys, monkeypatch, tmp_path):
    """Run an example's `main` in an empty folder; return its exit code, output and errors."""
    matplotlib.use("agg")  # no window, even where there is a display
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        try:
            code = runpy.run_path(str(EXAMPLES / name))["main"](arguments)
        except SystemExit as exit:  # argparse's
            code = exit.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def training(example, loaders, monkeypatch):
    """Run an example that trains for one epoch on MNIST; return its output."""
    monkeypatch.setattr(data, "load", lambda *args, **options: loaders)

    def run(name):
        code, printed, errors = example(name, "--epochs", "1")
        assert (code, errors) == (0, "")
        return printed

    return run


@pytest.mark.slow
def test_train_mnist_trains(training):
    printed = training("train_mnist.py")
    printed = re.fullmatch(r"Epoch 0\. Loss: (.*), Train_acc (.*), Test_acc (.*)\n", printed)
    loss, train_accuracy, test_accuracy = map(float, printed.groups())
    assert loss == pytest.approx(1.23, rel=0.06)  # the published 1.2515 and 1.2078
    assert train_accuracy > 0.85 and test_accuracy > 0.85


@pytest.mark.slow
def test_predict_digits_predicts_and_draws(training, tmp_path):
    printed = training("predict_digits.py")
    predictions, labels = re.findall(r": \[((?:\d ?){10})\]", printed)
    correct = sum(a == b for a, b in zip(predictions.split(), labels.split()))
    assert correct >= 5  # of ten random digits, at an accuracy of some 0.88
    picture = matplotlib.image.imread(tmp_path / "digits.png")
    assert picture.shape[1] > 5 * picture.shape[0]  # a strip
    assert "digits.png" in printed


@pytest.mark.slow
def test_misclassified_prints_and_draws(training, example, tmp_path):
    printed = training("misclassified.py")
    accuracy = float(re.search(r"Epoch 0\. Test_acc (.*)", printed)[1])
    wrong = int(re.search(r"(\d+) of 10000 test digits are misclassified", printed)[1])
    assert wrong == round(10000 * (1 - accuracy))
    confusions = re.findall(r"(\d) predicted as (\d): (\d+) times", printed)
    times = [int(confusion[2]) for confusion in confusions]
    assert len(times) == 5 and times == sorted(times, reverse=True) and sum(times) <= wrong
    assert all(truth != prediction for truth, prediction, _ in confusions)
    for name in ("confusion.png", "mistakes.png"):
        assert min(matplotlib.image.imread(tmp_path / name).shape[:2]) > 400
    checkpoint.save("model.npz", model.init_params(num_hidden=8, seed=0))
    code, printed, errors = example("misclassified.py", "--model", "model.npz")
    assert (code, errors) == (0, "") and "Epoch" not in printed  # a saved model is not trained


@pytest.mark.slow
def test_own_digit_reads_the_three_that_it_draws(training, tmp_path):
    printed = training("own_digit.py")
    assert "\nmodel prediction is: 3\n" in printed and "own_digit.png" in printed
    height, width, _ = matplotlib.image.imread(tmp_path / "own_digit.png").shape
    assert width > 3 * height  # four steps


@pytest.mark.parametrize("line, message", [
    ("own_digit.py --image absent.png", "absent.png: cannot be read: No such file or directory"),
    ("own_digit.py --dataset cats", "argument --dataset: invalid choice: 'cats'"),
    ("misclassified.py --model absent.npz", "absent.npz cannot be read: No such file or directory"),
    ("misclassified.py --model linear.npz", "linear.npz: expected a network with 784 inputs and "
     "two hidden layers, found shapes [(784, 10), (10,)]"),
    ("misclassified.py --out absent", "absent/confusion.png cannot be written: No such file"),
    ("misclassified.py --dataset cats", "argument --dataset: invalid choice: 'cats'"),
    ("compare_runs.py absent.jsonl", "absent.jsonl cannot be read: No such file or directory"),
    ("compare_runs.py empty.jsonl", "no epochs in empty.jsonl; train with --log first"),
    ("compare_runs.py other.jsonl", "other.jsonl: expected a log of mlp_mx.train, each line with"),
    ("draw_digit.py small.npz --no-open", "small.npz: expected a network with 784 inputs and 10 "
     "outputs, found 20-3-3-10; use a model saved by"),
    ("draw_digit.py small.npz --out page.txt", "a file name that ends in .html, found 'page.txt'"),
])
def test_examples_refuse_in_one_line(example, tmp_path, line, message):
    checkpoint.save("linear.npz", [nd.ones(shape) for shape in ((784, 10), (10,))])
    checkpoint.save("small.npz", model.init_params(num_inputs=20, num_hidden=3))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "other.jsonl").write_text('{"epoch": [1], "loss": 1, "train_accuracy": 1, '
                                          '"test_accuracy": 1, "seconds": 1}\n')
    before = sorted(tmp_path.iterdir())
    code, printed, errors = example(*line.split())
    assert (code, printed) == (2, "") and sorted(tmp_path.iterdir()) == before
    assert errors.startswith("error: ") and errors.count("\n") == 1 and message in errors


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
    write_log("large.jsonl", 64, 1, [0.6, 0.84, 0.9])  # an epoch more than the other seed
    code, printed, errors = example(
        "compare_runs.py", "small.jsonl", "large.jsonl", "--out", "out.svg")
    assert (code, errors) == (0, "")
    assert printed.splitlines() == [
        "num hidden 16: test accuracy 0.7000 after epoch 1, 1 seed",
        "num hidden 64: test accuracy 0.8200 after epoch 1, 2 seeds",
        "saved: out.svg",
    ]
    assert (tmp_path / "out.svg").read_text().count("<!-- num hidden") == 2  # in the legend


def test_draw_digit_writes_one_file_that_refers_to_no_other(example, tmp_path, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", None)  # is not called
    checkpoint.save("model.npz", model.init_params(seed=0), dataset="MNIST", test_accuracy=0.9754)
    assert example("draw_digit.py", "model.npz", "--no-open", "--out", "page.html") == (
        0, "page.html: 1.1 MB, for any browser\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz", "page.html"]
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?:|\bsrc\s*=|\bimport\b|@import|url\(", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]  # no icon
    assert "Trained on MNIST; test accuracy 97.54%." in text


@pytest.mark.parametrize("metadata, expected", [
    ({"dataset": "glyphs", "test_accuracy": 0.979}, "Trained on digits drawn from fonts; test "
     "accuracy 97.90%. It may misread handwriting."),
    ({"dataset": "MNIST", "test_accuracy": "<b>"}, "Trained on MNIST."),
    ({"dataset": ["<script>"], "test_accuracy": 0.5}, "Training data set: unknown."),
])
def test_draw_digit_says_what_the_metadata_say(example, tmp_path, monkeypatch, metadata, expected):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    checkpoint.save("model.npz", model.init_params(num_hidden=3), **metadata)
    assert example("draw_digit.py", "model.npz")[0] == 0
    assert opened == [(tmp_path / "draw_digit.html").as_uri()]
    assert f'"about": "{expected}"' in (tmp_path / "draw_digit.html").read_text()


@pytest.mark.parametrize("program", [*ROOT.glob("benchmarks/*.py"), ROOT / "docs" / "pictures.py"],
                         ids=lambda program: program.name)
def test_the_programs_behind_the_docs_start(python, program):
    result = python(program, "--help")
    assert result.returncode == 0, result.stderr

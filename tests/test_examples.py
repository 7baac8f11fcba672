"""The examples, run in an empty folder. Some others have tests of their own."""

import json
import pathlib
import re
import runpy
import sys
import webbrowser

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from mlp_mx import checkpoint, data, model, train

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = [*ROOT.glob("examples/*.py"), *ROOT.glob("examples/*.ipynb")]


@pytest.fixture
def example(capsys, monkeypatch, tmp_path):
    """Run an example in an empty folder; return its output, or its errors if it fails."""
    matplotlib.use("agg")  # no window, even where there is a display
    monkeypatch.chdir(tmp_path)

    def run(line, expected_code=0):
        monkeypatch.setattr(sys, "argv", line.split())
        try:
            runpy.run_path(str(ROOT / "examples" / sys.argv[0]), run_name="__main__")
            code = 0
        except SystemExit as exit:
            code = exit.code
        printed, errors = capsys.readouterr()
        assert code == expected_code, errors
        assert (errors if code == 0 else printed) == ""
        return printed or errors

    return run


@pytest.fixture(scope="module")
def few(mnist_loaders):
    """The first images of MNIST's training and test data."""
    return [data.ArrayLoader(loader.data[:number], loader.label[:number], 64, 0, "MNIST")
            for loader, number in zip(mnist_loaders, (9600, 2000))]


@pytest.fixture
def example_on_few(example, few, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *args, **options: few)
    return example


@pytest.fixture
def example_on_trained(example_on_few, trained, monkeypatch):
    """As after an epoch on all of MNIST, to which an example adds one on few images."""
    params = [param.copy() for param in trained]
    for param in params:
        param.attach_grad()
    monkeypatch.setattr(model, "init_params", lambda **options: params)
    return example_on_few


def test_train_mnist_trains_as_the_package_does(example_on_few, few):
    printed = example_on_few("train_mnist.py --epochs 1")
    printed = re.fullmatch(r"Epoch 0\. Loss: (.*), Train_acc (.*), Test_acc (.*)\n", printed)
    found = [*map(float, printed.groups())]
    expected = next(train.fit(model.init_params(seed=0), *few))
    assert found[0] == pytest.approx(expected.loss, abs=2e-5) and 2 < found[0] < 2.302
    assert found[1:] == pytest.approx(expected[2:4], abs=2e-3)


def test_predict_digits_predicts_and_draws(example_on_trained):
    printed = example_on_trained("predict_digits.py --epochs 1")
    assert re.match(r"Epoch 0\. Test_acc 0\.[89]", printed)
    predictions, labels = re.findall(r": \[((?:\d ?){10})\]", printed)
    correct = sum(a == b for a, b in zip(predictions.split(), labels.split()))
    assert correct >= 5  # of ten random digits, at an accuracy of some 0.88
    height, width, _ = matplotlib.image.imread("digits.png").shape
    assert width > 5 * height  # a strip
    assert "digits.png" in printed


def test_own_digit_reads_the_three_that_it_draws(example_on_trained):
    printed = example_on_trained("own_digit.py --epochs 1")
    assert re.match(r"Epoch 0\. Test_acc 0\.[89]", printed)
    assert "\nmodel prediction is: 3\n" in printed and "own_digit.png" in printed
    height, width, _ = matplotlib.image.imread("own_digit.png").shape
    assert width > 3 * height  # four steps


@pytest.mark.slow
def test_misclassified_prints_and_draws(example, trained, few, monkeypatch):
    asked = []
    monkeypatch.setattr(data, "load", lambda *args, **_: asked.append(args[0]) or few)
    checkpoint.save("model.npz", trained, dataset="MNIST")
    printed = example("misclassified.py model.npz")
    accuracy = train.evaluate_accuracy(few[1], trained)
    wrong = int(re.match(r"(\d+) of 2000 MNIST test images are misclassified", printed)[1])
    assert wrong == round(2000 * (1 - accuracy))
    confusions = re.findall(r"(\d) predicted as (\d): (\d+) times", printed)
    times = [int(confusion[2]) for confusion in confusions]
    assert len(times) == 5 and times == sorted(times, reverse=True) and sum(times) <= wrong
    assert all(truth != prediction for truth, prediction, _ in confusions)
    for name in ("confusion.png", "mistakes.png"):
        assert min(matplotlib.image.imread(name).shape[:2]) > 400
    example("misclassified.py model.npz --dataset glyphs")
    assert asked == ["mnist", "glyphs"]  # the model's own data set, or the one asked for


@pytest.mark.parametrize("line, message", [
    ("own_digit.py --image absent.png", "absent.png: cannot be read: No such file or directory"),
    ("misclassified.py absent.npz", "absent.npz cannot be read: No such file or directory"),
    ("misclassified.py small.npz --out absent", "absent/confusion.png cannot be written: No such"),
    ("misclassified.py fashion.npz", "the model was trained on fashion; name that folder with "),
    ("compare_runs.py absent.jsonl", "absent.jsonl cannot be read: No such file or directory"),
    ("compare_runs.py empty.jsonl", "no epochs in empty.jsonl; train with --log first"),
    ("compare_runs.py other.jsonl", "other.jsonl: expected a log of mlp_mx.train, each line with"),
    ("draw_digit.py small.npz --no-open", "small.npz: expected a network with 784 inputs and 10 "
     "outputs, found 20-3-3-10; use a model saved by"),
    ("draw_digit.py small.npz --out page.txt", "a file name that ends in .html, found 'page.txt'"),
])
def test_examples_refuse_in_one_line(example, tmp_path, line, message):
    checkpoint.save("small.npz", model.init_params(num_inputs=20, num_hidden=3))
    checkpoint.save("fashion.npz", model.init_params(num_hidden=3), dataset="fashion")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "other.jsonl").write_text('{"epoch": [1], "loss": 1, "train_accuracy": 1, '
                                          '"test_accuracy": 1, "seconds": 1}\n')
    before = sorted(tmp_path.iterdir())
    errors = example(line, expected_code=2)
    assert sorted(tmp_path.iterdir()) == before
    assert errors.startswith("error: ") and errors.count("\n") == 1 and message in errors


def test_compare_runs_draws_a_line_for_each_setting(example, tmp_path):
    for num_hidden, seed, accuracies in [
        (16, 0, [0.5, 0.7]), (64, 0, [0.6, 0.80]),
        (64, 1, [0.6, 0.84, 0.9]),  # an epoch more than the other seed
    ]:
        with open(f"{num_hidden}.jsonl", "a") as file:
            for epoch, accuracy in enumerate(accuracies):
                print(json.dumps({
                    "dataset": "MNIST", "num_hidden": num_hidden, "seed": seed,
                    "epochs": epoch + 1,  # as if it were resumed
                    "epoch": epoch, "loss": 1 - accuracy, "train_accuracy": accuracy,
                    "test_accuracy": accuracy, "seconds": 1}), file=file)
    assert example("compare_runs.py 16.jsonl 64.jsonl --out out.svg").splitlines() == [
        "num hidden 16: test accuracy 70.00% after epoch 1, 1 seed",
        "num hidden 64: test accuracy 82.00% after epoch 1, 2 seeds",
        "saved: out.svg",
    ]
    texts = re.findall("<!-- (.*) -->", (tmp_path / "out.svg").read_text())
    assert [texts.count(text) for text in ("num hidden", "16", "64")] == [1, 1, 1]  # in the legend
    assert "80%" in texts
    errors = example("compare_runs.py 16.jsonl --out 16.jsonl", expected_code=2)
    assert "ends in .png, .svg or .pdf" in errors


def test_the_legend_of_many_settings_stays_beside_the_axes():
    names = runpy.run_path(str(ROOT / "examples" / "compare_runs.py"))
    settings = [(f"0.{number}", "256", "a data set with a long name") for number in range(1, 9)]
    groups = {setting: ([0, 1], np.full((2, 2, 2), 0.5)) for setting in settings}
    figure = names["draw"](["learning_rate", "num_hidden", "dataset"], groups)
    figure.draw_without_rendering()
    legend, = figure.legends
    box = legend.get_window_extent()
    assert [text.get_text() for text in legend.texts] == [*map(", ".join, settings)]
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1
    assert not any(axes.get_tightbbox().overlaps(box) for axes in figure.axes)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_use_public_names_only(path):
    """People copy them."""
    assert not re.search(r"mlp_mx\S* import .*\b_|mlp_mx\._|\b(data|plot|train|model)\._",
                         path.read_text())


@pytest.mark.parametrize("metadata, expected", [
    ({"dataset": "MNIST", "test_accuracy": 0.9754}, "Trained on MNIST; test accuracy 97.54%."),
    ({"dataset": "glyphs", "test_accuracy": 0.979}, "Trained on digits drawn from fonts; test "
     "accuracy 97.90%. It may misread handwriting."),
    ({"dataset": "MNIST", "test_accuracy": "<b>"}, "Trained on MNIST."),
    ({"dataset": ["<script>"], "test_accuracy": 0.5}, "Training data set: unknown."),
    ({"dataset": "digits </script><b>"}, "Trained on digits \\u003c/script>\\u003cb>. "
     "It may misread handwriting."),
])
def test_draw_digit_writes_one_file_with_what_the_metadata_say(
    example, tmp_path, monkeypatch, metadata, expected
):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    checkpoint.save("model.npz", model.init_params(seed=0), **metadata)
    printed = example("draw_digit.py model.npz --no-open --out page.html")
    assert printed == "page.html: 1.1 MB, for any browser\n" and opened == []
    assert {path.name for path in tmp_path.iterdir()} == {"model.npz", "page.html"}
    example("draw_digit.py model.npz")
    assert opened == [(tmp_path / "draw_digit.html").as_uri()]
    text = (tmp_path / "draw_digit.html").read_text()
    assert text == (tmp_path / "page.html").read_text()
    assert f'"about": "{expected}"' in text
    assert not re.search(r"https?:|\bsrc\s*=|\bimport\b|@import|url\(", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]  # no icon


@pytest.mark.parametrize("program", [*ROOT.glob("benchmarks/*.py"), ROOT / "docs" / "pictures.py"],
                         ids=lambda program: program.name)
def test_the_programs_behind_the_docs_start(monkeypatch, program):
    monkeypatch.syspath_prepend(str(program.parent))
    monkeypatch.setattr(sys, "argv", [program.name, "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(program), run_name="__main__")

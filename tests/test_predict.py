"""Predictions for users' pictures and for test digits, and the command that makes them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import oracle
from mlp_mx import InputError, checkpoint, data, model, plot, predict
from mlp_mx.predict import __main__ as predict_command
from mlp_mx.predict import images
from mlp_mx.runtime import nd


@pytest.fixture
def test_data(mnist_loaders):
    return mnist_loaders[1]


@pytest.fixture
def network(trained, tmp_path):
    """The file of a network that was trained for one epoch."""
    checkpoint.save(tmp_path / "model.npz", trained, dataset="MNIST")
    return str(tmp_path / "model.npz")


def pictures_of(test_data, count, ink=0, paper=255, part=0.7, side=300, light=1, noise=0):
    """Sheets of paper with test digits that are not in the middle; 1 for all of the light."""
    random, size = np.random.RandomState(1), int(part * side)
    for digit in np.rint(255 * test_data.data[:count].asnumpy()[..., 0]).astype(np.uint8):
        digit = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
        y, x = random.randint(0, side - size + 1, 2)
        covered = np.zeros((side, side, 3))
        covered[y:y + size, x:x + size] = np.asarray(digit)[..., None] / 255
        picture = (np.array(ink) * covered + np.array(paper) * (1 - covered)) * light
        picture += random.normal(0, noise, (side, side, 1))
        yield Image.fromarray(picture.clip(0, 255).astype(np.uint8))


LIGHT_FROM_THE_RIGHT = np.linspace(0.75, 1, 300)[None, :, None]
SOFT_SHADOW = 1 - 0.4 / (1 + np.exp(np.linspace(-20, 20, 300)))[:, None, None]


@pytest.mark.parametrize("options", [
    pytest.param({}, id="dark"),
    pytest.param({"ink": 75, "paper": 200, "light": LIGHT_FROM_THE_RIGHT, "noise": 12},
                 id="photographed", marks=pytest.mark.slow),
    pytest.param({"ink": 60, "paper": 210, "light": SOFT_SHADOW, "noise": 5}, id="shadowed",
                 marks=pytest.mark.slow),
    pytest.param({"ink": (30, 50, 170), "part": 0.25}, id="small", marks=pytest.mark.slow),
    pytest.param({"ink": 220, "paper": 30, "part": 0.95}, id="large", marks=pytest.mark.slow),
    pytest.param({"side": 40}, id="tiny", marks=pytest.mark.slow),
])
def test_pictures_are_classified_as_the_digits_they_were_made_of(
    tmp_path, test_data, trained, options
):
    path, format = tmp_path / "digit", "JPEG" if "noise" in options else "PNG"
    seen = []
    for picture in pictures_of(test_data, 40, **options):
        picture.save(path, format, quality=60, compress_level=1)
        seen.append(images.to_mnist(images.read(path)) / np.float32(255))
    expected = test_data.label[:40].asnumpy()
    originals = predict.probabilities(test_data.data[:40], trained).argmax(axis=1)
    found = predict.probabilities(np.stack(seen), trained).argmax(axis=1)
    assert np.mean(found == expected) >= 0.95 * np.mean(originals == expected)


@pytest.fixture
def files(tmp_path, test_data):
    """Pictures of the first three test digits, 7, 2 and 1."""
    paths = [str(tmp_path / name) for name in ("seven.png", "a longer name.jpg", "ōne {1}.png")]
    for path, picture in zip(paths, pictures_of(test_data, 3)):
        picture.save(path)
    return paths


def test_main_reads_pictures_and_goes_on_after_those_that_fail(
    capsys, monkeypatch, tmp_path, trained, network, files
):
    blank, text, figure = (tmp_path / name for name in ("blank.png", "te\nxt.png", "figure.svg"))
    Image.new("L", (50, 50), 200).save(blank)
    text.write_text("seven")
    line = [network, files[0], str(blank), str(text), *files[1:]]
    assert predict_command.main([*line, "--json"]) == 1
    printed, errors = capsys.readouterr()
    results = [json.loads(line) for line in printed.splitlines()]
    assert [result["file"] for result in results] == line[1:]
    failed = [results.pop(1), results.pop(1)]
    reasons = [result["error"].replace("te\nxt", "te xt") for result in failed]
    assert [f"error: {reason}" for reason in reasons] == errors.splitlines()
    assert failed[0]["error"].startswith(f"{blank}: expected one digit")
    assert re.match(r".*te xt.png: expected a picture .*, found something else", reasons[1])
    digits = np.stack([images.to_mnist(images.read(path)) for path in files]) / 255.0
    *_, logits = oracle.forward(digits.reshape(3, 784), [param.asnumpy() for param in trained])
    for result, row, label in zip(results, np.exp(oracle.log_softmax(logits)), (7, 2, 1)):
        assert result["dataset"] == "MNIST" and result["digit"] == row.argmax() == label
        np.testing.assert_allclose(result["probabilities"], row, rtol=1e-3, atol=1e-6)
        assert result["probability"] == result["probabilities"][label]
        assert result["runner_up_probability"] == sorted(result["probabilities"])[-2]

    drawn, inputs = [], plot.inputs
    monkeypatch.setattr(plot, "inputs", lambda *args: drawn.append(args) or inputs(*args))
    assert predict_command.main([*line, "--plot", str(figure)]) == 1
    assert "expected one digit" in figure.read_text()
    (pictures, inputs, captions), = drawn
    assert [caption.split("\n")[0] for caption in captions] == [
        "seven.png", "blank.png", "te xt.png", "a longer name.jpg", "ōne {1}.png"]
    assert captions[0] == (
        f"seven.png\n7 ({results[0]['probability']:.1%}), or {results[0]['runner_up']} "
        f"({results[0]['runner_up_probability']:.1%})")
    assert pictures[2] is None and captions[2].startswith("te xt.png\nexpected a picture")
    assert captions[1].startswith("blank.png\nexpected one digit") and inputs[1] is None
    assert (inputs[0] == images.to_mnist(images.read(files[0]))).all()
    assert (pictures[1] == 200).all() and pictures[1].shape[:2] == (50, 50)
    printed, errors_again = capsys.readouterr()
    lines = printed.splitlines()
    assert errors_again == errors and len(lines) == 3 and len({len(line) for line in lines}) == 1
    for line, result in zip(lines, results):
        found = re.fullmatch(r"(.*?) +(\d)  (\d\.\d{4})  (\d)  (\d\.\d{4})", line).groups()
        assert found == (result["file"], str(result["digit"]), f"{result['probability']:.4f}",
                         str(result["runner_up"]), f"{result['runner_up_probability']:.4f}")


def test_main_ends_as_the_chapter_does(
    capsys, monkeypatch, tmp_path, network, mnist_loaders, test_data
):
    monkeypatch.setattr(data, "load", lambda *_, **__: mnist_loaders)
    figure = tmp_path / "strip.png"
    options = [network, "--samples", "30", "--seed", "5"]
    assert predict_command.main([*options, "--plot", str(figure)]) == 0
    width, height = Image.open(figure).size
    assert width > 2 * height  # three rows of ten
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("30 of 10000 MNIST test images")
    predictions, labels = (
        list(map(int, re.fullmatch(f"{name} *((?:\\d ?){{30}})", line)[1].split()))
        for name, line in zip(("model predictions are:", "true labels :"), lines))
    assert sum(a == b for a, b in zip(predictions, labels)) > 22
    assert predict_command.main([*options, "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["digit"] for result in results] == predictions  # the same seed, the same digits
    assert [result["label"] for result in results] == labels
    chosen = [result["index"] for result in results]
    assert len(set(chosen)) == 30 and (test_data.label.asnumpy()[chosen] == labels).all()
    assert predict_command.main([*options, "--seed", "6"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] != lines


def test_main_takes_the_data_set_of_the_model(
    capsys, monkeypatch, tmp_path, trained, network, files, mnist_loaders
):
    asked = []
    monkeypatch.setattr(data, "load", lambda name, *_, **__: asked.append(name) or mnist_loaders)
    for number, metadata in enumerate([{"dataset": "MNIST"}, {"dataset": [1]}, {}]):
        path = str(tmp_path / f"{number}.npz")
        checkpoint.save(path, trained, **metadata)
        assert predict_command.main([path]) == 0
        assert predict_command.main([path, *files]) == 0
        warned = capsys.readouterr().err.count("training data set: unknown) and may misread")
        assert warned == (1 if number else 0)
        assert predict_command.main([path, "absent.png"]) == 2
        message = "error: absent.png: cannot be read: No such file or directory\n"
        assert capsys.readouterr().err == message
    assert predict_command.main([network, "--dataset", "glyphs"]) == 0
    assert asked == ["mnist", "auto", "auto", "glyphs"]


SHAPES = ["round \x1b[31m", "square", "flat"]


@pytest.fixture
def small_images(monkeypatch):
    """A data set of images of 5 x 4 pixels in three classes, for `data.load`."""
    random = np.random.RandomState(0)
    test_data = data.ArrayLoader(
        random.rand(40, 5, 4, 1), random.permutation(np.arange(40) % 3), name="sha\x1bpes",
        classes=SHAPES)
    asked = []
    monkeypatch.setattr(data, "DATASETS", ("auto", "mnist", "glyphs", "idx"))
    monkeypatch.setattr(data, "load", lambda *args, **_: asked.append(args) or (
        test_data, test_data))
    return test_data, asked


def test_main_predicts_test_images_of_any_size_and_classes_by_name(
    capsys, tmp_path, small_images
):
    test_data, asked = small_images
    path, figure = str(tmp_path / "model.npz"), tmp_path / "strip.svg"
    random = np.random.RandomState(1)
    params = [nd.array(random.normal(size=shape)) for inputs, outputs in ((20, 6), (6, 3))
              for shape in ((inputs, outputs), (outputs,))]  # one hidden layer
    checkpoint.save(path, params, dataset=test_data.name, classes=SHAPES)
    line = [path, "--data-dir", "shapes", "--samples", "20"]
    assert predict_command.main([*line, "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    X = test_data.data.asnumpy()[[result["index"] for result in results]].reshape(20, 20)
    W1, b1, W2, b2 = (param.asnumpy() for param in params)
    logits = np.maximum(X @ W1 + b1, 0) @ W2 + b2
    assert [result["digit"] for result in results] == logits.argmax(axis=1).tolist()
    assert all(result["class"] == SHAPES[result["digit"]] for result in results)
    assert all(result["runner_up_class"] == SHAPES[result["runner_up"]] for result in results)

    assert predict_command.main([*line, "--plot", str(figure)]) == 0
    heading, predictions, labels = capsys.readouterr().out.splitlines()
    shown = [name.replace("\x1b", "\\x1b") for name in SHAPES]
    assert heading == "20 of 40 sha\\x1bpes test images; model trained on: sha\\x1bpes"
    assert predictions == "model predictions are: " + ", ".join(
        shown[result["digit"]] for result in results)
    assert labels == "true labels :          " + ", ".join(
        shown[result["label"]] for result in results)
    assert len(set(predictions.split(": ")[1].split(", "))) > 1
    assert figure.read_text().count("<!-- square") >= 1
    assert predict_command.main([path, "--dataset", "idx", "--data-dir", "shapes"]) == 0
    assert asked[-1] == ("idx", "shapes")
    capsys.readouterr()
    for metadata, classes in (({}, SHAPES), ({"classes": ["a", "b", "c"]}, "abc"),
                              ({"classes": ["a"]}, SHAPES), ({"classes": [1, 2, 3]}, SHAPES)):
        checkpoint.save(path, params, **metadata)
        assert predict_command.main([path, "--dataset", "idx", "--json"]) == 0
        for result in map(json.loads, capsys.readouterr().out.splitlines()):
            assert result["class"] == classes[result["digit"]]


def test_main_shows_numbers_if_the_model_has_more_classes_than_there_are_names(
    capsys, tmp_path, small_images
):
    path = str(tmp_path / "model.npz")
    checkpoint.save(path, [np.zeros((20, 4), "f4"), np.arange(4, dtype="f4")])  # always the last
    assert predict_command.main([path, "--dataset", "idx", "--samples", "2"]) == 0
    assert "model predictions are: 3 3\n" in capsys.readouterr().out


def test_probabilities_and_read_take_networks_of_ones_own(test_data, trained, files):
    X = test_data.data[:50]
    expected = model.softmax(model.net(X, trained)).asnumpy()
    for same in (X, X.asnumpy(), X.asnumpy()[..., 0], (255 * X.asnumpy()).round().astype("u1")):
        np.testing.assert_allclose(predict.probabilities(same, trained), expected, atol=1e-5)
    deep = [nd.random.normal(shape=shape) for inputs, outputs in ((784, 9), (9, 8), (8, 7), (7, 4))
            for shape in ((inputs, outputs), (outputs,))]

    def tanh_net(X, params):
        for W, b in zip(params[::2], params[1::2]):
            X = nd.tanh(nd.dot(X, W) + b)
        return X

    for net, function in ((predict.relu_net, lambda a: np.maximum(a, 0)), (tanh_net, np.tanh)):
        a = X.asnumpy().reshape(50, 784).astype(float)
        for W, b in zip(deep[::2], deep[1::2]):
            z = a @ W.asnumpy() + b.asnumpy()
            a = function(z)
        expected = np.exp(oracle.log_softmax(z if net is predict.relu_net else a))
        found = predict.probabilities(X, deep, net=net)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    images_as_loaded = predict.relu_net(X, deep).asnumpy()  # as `train.fit` passes them
    assert (images_as_loaded == predict.relu_net(X.flatten(), deep).asnumpy()).all()
    for X in (np.zeros((0, 784)), np.zeros((3, 27, 28))):
        with pytest.raises(InputError, match="one or more examples of 784 values, found shape"):
            predict.probabilities(X, deep)

    for path, label in zip(files, (7, 2, 1)):
        reading = predict.read(path, trained)
        assert repr(reading) == (
            f"Reading(digit={reading.digit}, probability={reading.probability:.4f}, …)")
        picture = images.read(path)
        assert reading.digit == label == reading.probabilities.argmax()
        assert reading.probability == reading.probabilities.max()
        assert (reading.image == images.to_mnist(picture)).all()
        assert predict.read(picture, trained).digit == label
    assert predict.read(files[0], deep, net=tanh_net).probabilities.shape == (4,)
    with pytest.raises(images.ImageError, match="absent.png: cannot be read"):
        predict.read("absent.png", trained)


@pytest.mark.parametrize("line, complaint", [
    ("", "required: MODEL ("),
    ("model.npz a.png --samples 3", "--samples applies to test images"),
    ("model.npz a.png --data-dir .", "--data-dir applies to test images"),
    ("model.npz a.png --plot nowhere/strip.png", "cannot be written"),
    ("model.npz a.svg --plot a.svg", "--plot and IMAGE both name a.svg"),
    ("small.npz a.png", "small.npz: expected 784 inputs, for pictures of 28 x 28 pixels, found 6"),
    ("one.npz", "expected a network with 2 or more outputs, found 1"),
    ("small.npz", "the model was trained on faces; name that folder with --data-dir"),
    ("model.npz --dataset idx", "20 inputs and 3 or more outputs for sha\\x1bpes, found 784"),
])
@pytest.mark.usefixtures("small_images")
def test_bad_lines_get_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, line, complaint):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("model.npz", model.init_params(num_hidden=3))
    small = model.init_params(num_inputs=6, num_hidden=5, num_outputs=3)
    checkpoint.save("small.npz", small, dataset="faces")
    checkpoint.save("one.npz", [np.zeros((3, 1), "f4"), np.zeros(1, "f4")])
    try:
        code = predict_command.main(line.split())
    except SystemExit as exit:  # argparse's
        code = exit.code
    printed, errors = capsys.readouterr()
    assert (code, printed) == (2, "") and errors.startswith("error: ")
    assert errors.count("\n") == 1 and complaint in errors

"""Predictions for users' pictures and for test digits, and the command that makes them."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import oracle
from mlp_mx import checkpoint, data, model, predict, train
from mlp_mx.predict import __main__ as predict_command
from mlp_mx.predict import images


@pytest.fixture(scope="module")
def mnist(mnist_dir):
    return data.load("mnist", mnist_dir)


@pytest.fixture(scope="module")
def test_data(mnist):
    return mnist[1]


@pytest.fixture(scope="module")
def network(mnist, tmp_path_factory):
    """The file of a network that was trained for one epoch."""
    path = str(tmp_path_factory.mktemp("network") / "model.npz")
    params = model.init_params(seed=0)
    record, = train.fit(params, *mnist, epochs=1, learning_rate=0.002)
    assert record.test_accuracy > 0.9
    checkpoint.save(path, params, dataset="MNIST")
    return path


def pixels(test_data, count):
    return np.rint(255 * test_data.data[:count].asnumpy()[..., 0]).astype(np.uint8)


def covered(digit, random, side=300, part=0.7):
    """How much of each pixel of a sheet is ink: a digit that is not in the middle."""
    size = int(part * side)
    digit = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    y, x = random.randint(0, side - size + 1, 2)
    return np.pad(np.asarray(digit) / 255, ((y, side - size - y), (x, side - size - x)))


def drawn(ink, paper, part=0.7, side=300):
    """A picture in two colours."""
    def picture(digit, random):
        amount = covered(digit, random, side, part)[..., None]
        colours = np.array(ink) * amount + np.array(paper) * (1 - amount)
        return Image.fromarray(np.rint(colours).astype(np.uint8))
    return picture


def photographed(digit, random):
    """On grey, noisy paper, in light that comes from one side, as a JPEG file."""
    amount = covered(digit, random)
    light = np.linspace(*random.permutation([150, 200]), amount.shape[1])
    grey = random.uniform(60, 90) * amount + light * (1 - amount)
    grey += random.normal(0, 12, grey.shape)
    file = io.BytesIO()
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=60)
    return Image.open(file)


def shadowed(digit, random):
    """With a soft shadow over some of it."""
    amount = covered(digit, random)
    light = 1 - 0.4 / (1 + np.exp(np.linspace(-20, 20, amount.shape[0])))[:, None]
    grey = (60 * amount + 210 * (1 - amount)) * light + random.normal(0, 5, amount.shape)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


dark = drawn((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize("kind", [
    pytest.param(dark, id="dark"), photographed, pytest.param(shadowed, marks=pytest.mark.slow),
    pytest.param(drawn((30, 50, 170), (255, 255, 255), 0.25), id="small", marks=pytest.mark.slow),
    pytest.param(drawn((220, 220, 220), (30, 30, 30), 0.95), id="large", marks=pytest.mark.slow),
    pytest.param(drawn((0, 0, 0), (255, 255, 255), side=40), id="tiny", marks=pytest.mark.slow),
])
def test_pictures_are_classified_as_the_digits_they_were_made_of(
    tmp_path, test_data, network, kind
):
    params, _ = checkpoint.load(network)
    random = np.random.RandomState(1)
    expected = test_data.label[:40].asnumpy()
    originals = predict.probabilities(test_data.data[:40], params).argmax(axis=1)
    seen = []
    for digit in pixels(test_data, 40):
        kind(digit, random).save(tmp_path / "digit.png", compress_level=1)
        seen.append(images.to_mnist(images.read(tmp_path / "digit.png")))
    found = predict.probabilities(np.stack(seen) / np.float32(255), params).argmax(axis=1)
    assert np.mean(found == expected) >= 0.95 * np.mean(originals == expected)


def test_probabilities_are_those_of_numpy(network, test_data):
    params, _ = checkpoint.load(network)
    X = test_data.data[:20]
    *_, logits = oracle.forward(X.asnumpy().reshape(20, -1).astype(np.float64),
                                [param.asnumpy() for param in params])
    np.testing.assert_allclose(predict.probabilities(X, params),
                               np.exp(oracle.log_softmax(logits)), rtol=1e-3, atol=1e-6)


@pytest.fixture
def files(tmp_path, test_data):
    """Pictures of the first three test digits, 7, 2 and 1."""
    paths = [str(tmp_path / name) for name in ("seven.png", "a longer name.jpg", "ōne {1}.png")]
    for path, digit in zip(paths, pixels(test_data, 3)):
        dark(digit, np.random.RandomState(0)).save(path)
    return paths


def test_main_prints_one_aligned_line_a_picture(capsys, network, files):
    assert predict_command.main([network, *files]) == 0
    printed, errors = capsys.readouterr()
    lines = printed.splitlines()
    assert errors == "" and len({len(line) for line in lines}) == 1
    for line, path, digit in zip(lines, files, (7, 2, 1)):
        name, *fields = re.fullmatch(r"(.*?) +(\d)  (\d\.\d{4})  (\d)  (\d\.\d{4})", line).groups()
        assert (name, int(fields[0])) == (path, digit)
        assert float(fields[1]) > float(fields[3])


def test_main_prints_json_for_programs(capsys, network, files):
    assert predict_command.main([network, "--json", *files, "absent.png"]) == 1
    printed, errors = capsys.readouterr()
    *results, failed = map(json.loads, printed.splitlines())
    assert failed == {"file": "absent.png", "error": errors[len("error: "):-1]}
    digits = np.stack([images.to_mnist(images.read(path)) for path in files]) / np.float32(255)
    expected = predict.probabilities(digits, checkpoint.load(network)[0])
    assert [result["file"] for result in results] == files
    for result, probabilities in zip(results, expected):
        assert result["dataset"] == "MNIST"
        assert result["probabilities"] == pytest.approx(probabilities.tolist(), abs=1e-5)
        assert result["digit"] == probabilities.argmax()
        assert result["probability"] == result["probabilities"][result["digit"]]
        assert result["runner_up_probability"] == sorted(result["probabilities"])[-2]


def test_main_goes_on_after_a_picture_that_fails(capsys, tmp_path, network, files):
    blank, text = tmp_path / "blank.png", tmp_path / "te\nxt.png"
    Image.new("L", (50, 50), 200).save(blank)
    text.write_text("seven")
    figure = tmp_path / "figure.svg"
    line = [network, files[0], str(blank), str(text), files[1], "--plot", str(figure)]
    assert predict_command.main(line) == 1
    printed, errors = capsys.readouterr()
    assert printed.count("\n") == 2 and figure.read_text().startswith("<?xml")
    first, second = errors.splitlines()
    assert first.startswith(f"error: {blank}: expected one digit")
    assert re.match(r"error: '.*te\\nxt.png': expected a picture .*, found something else", second)


def test_main_ends_as_the_chapter_does(capsys, monkeypatch, tmp_path, network, mnist, test_data):
    monkeypatch.setattr(data, "load", lambda *_, **__: mnist)
    figure = tmp_path / "strip.png"
    options = ["--samples", "30", "--seed", "5", "--plot", str(figure)]
    assert predict_command.main([network, *options]) == 0
    width, height = Image.open(figure).size
    assert width > 2 * height  # three rows of ten
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("30 of 10000 MNIST test digits")
    predictions, labels = (
        list(map(int, re.fullmatch(f"{name} *((?:\\d ?){{30}})", line)[1].split()))
        for name, line in zip(("model predictions are:", "true labels :"), lines))
    assert sum(a == b for a, b in zip(predictions, labels)) > 22
    assert predict_command.main([network, *options, "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["digit"] for result in results] == predictions  # the same seed, the same digits
    assert [result["label"] for result in results] == labels
    chosen = [result["index"] for result in results]
    assert len(set(chosen)) == 30 and (test_data.label.asnumpy()[chosen] == labels).all()
    assert predict_command.main([network, *options, "--seed", "6"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] != lines


def test_main_takes_the_data_set_of_the_model(
    capsys, monkeypatch, tmp_path, network, files, mnist
):
    asked = []
    monkeypatch.setattr(data, "load", lambda name, *_, **__: asked.append(name) or mnist)
    params, _ = checkpoint.load(network)
    for number, metadata in enumerate([{"dataset": "glyphs"}, {"dataset": [1]}, {}]):
        path = str(tmp_path / f"{number}.npz")
        checkpoint.save(path, params, **metadata)
        assert predict_command.main([path]) == 0
        assert predict_command.main([path, *files]) == 0
        assert capsys.readouterr().err.count("may misread handwriting") == 1
        assert predict_command.main([path, "absent.png"]) == 2
        assert capsys.readouterr().err == "error: absent.png: cannot be read: " \
                                          "No such file or directory\n"
    assert predict_command.main([network, "--dataset", "glyphs"]) == 0
    assert asked == ["glyphs", "auto", "auto", "glyphs"]


@pytest.mark.parametrize("line, complaint", [
    ("model.npz a.png --samples 3", "--samples applies to test digits"),
    ("model.npz a.png --data-dir .", "--data-dir applies to test digits"),
    ("model.npz a.png --plot nowhere/strip.png", "cannot be written"),
    ("model.npz a.svg --plot a.svg", "--plot and IMAGE both name a.svg"),
    ("small.npz a.png", "784 inputs"),
])
def test_bad_lines_get_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, line, complaint):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("model.npz", model.init_params(num_hidden=3))
    checkpoint.save("small.npz", model.init_params(num_inputs=6, num_hidden=5, num_outputs=3))
    assert predict_command.main(line.split()) == 2
    printed, errors = capsys.readouterr()
    assert printed == "" and errors.startswith("error: ")
    assert errors.count("\n") == 1 and complaint in errors


def test_only_the_model_is_required(capsys):
    with pytest.raises(SystemExit):
        predict_command.main([])
    assert "required: MODEL (" in capsys.readouterr().err

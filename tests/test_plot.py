"""Pictures: what is in them, and the files they are saved to."""

import os
import sys
import types

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mlp_mx import InputError, plot
from mlp_mx.train import published
from mlp_mx._support.files import WriteError

RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randint(0, 256, (12, 28, 28)).astype(np.uint8)
PREDICTIONS = np.array([7, 2, 1, 0, 4, 1, 4, 9, 6, 9, 0, 6])
LABELS = np.array([7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 8])


def shown(axes):
    """The one image in some axes."""
    image, = axes.images
    return image.get_array()


def texts_of(container):
    return [text.get_text() for text in container.texts]


def captions_of(figure, color):
    """The captions below a figure's images in this colour."""
    return [axes.get_xlabel() for axes in figure.axes
            if matplotlib.colors.to_hex(axes.xaxis.label.get_color()).upper() == color]


def test_strip_names_predictions_and_the_truth_of_wrong_ones_in_red():
    figure = plot.strip(IMAGES / 255, PREDICTIONS.astype(np.float32), LABELS.astype(np.float32))
    assert captions_of(figure, "#000000") == list("7210414990")
    assert captions_of(figure, plot.VERMILION) == ["6, is 5", "6, is 8"]
    for axes, image in zip(figure.axes, IMAGES / 255):
        assert (shown(axes) == image).all()
        assert axes.images[0].get_clim() == (IMAGES.min() / 255, IMAGES.max() / 255)
    first, tenth, eleventh = (figure.axes[number].get_position() for number in (0, 9, 10))
    assert tenth.y0 == pytest.approx(first.y0)
    assert eleventh.y0 < first.y0 and eleventh.x0 == pytest.approx(first.x0)  # the second row
    assert captions_of(plot.strip(IMAGES[:2], PREDICTIONS[:2]), "#000000") == ["7", "2"]


def test_inputs_shows_originals_beside_what_the_network_saw():
    originals = [np.full((30, 90), 200, np.uint8), RANDOM.uniform(size=(64, 48, 3))]
    long = f"a{'_name_too_long' * 5}_for_its_place.png"
    captions = ["one$x_{$ is no formula.png\n7 (99 %)", long]
    figure = plot.inputs(originals, IMAGES[:2], captions)
    for left, right, original, image in zip(figure.axes[::2], figure.axes[1::2], originals, IMAGES):
        assert (shown(left) == original).all() and (shown(right) == image).all()
        assert left.get_position().x1 < right.get_position().x0
    assert figure.axes[0].images[0].get_clim() == (0, 255)  # grey paper stays grey
    assert texts_of(figure)[:3] == ["→", captions[0], "→"]
    assert texts_of(figure)[3] == "a_name_too_long_name_to…long_for_its_place.png"
    assert {text.get_color() for text in figure.texts} == {"black"}
    figure.draw_without_rendering()


@pytest.mark.parametrize("count", [1, 5, 40])
def test_inputs_shows_rejected_pictures_with_the_reason_in_red(count):
    reason = "expected one digit, found a blank picture; make the digit larger or bolder, please"
    picture = np.full((30, 90, 3), 200, np.uint8)
    figure = plot.inputs([None, picture] * count, [None] * 2 * count,
                         [f"a.txt\n{reason}", "b.png\n7"] * count)
    assert len(figure.axes) == 4 * count
    for not_read, no_input, read, no_digit in zip(*(figure.axes[i::4] for i in range(4))):
        assert (shown(read) == picture).all()
        for axes in (not_read, no_input, no_digit):
            assert texts_of(axes) == ["✕"] and not axes.images
    first, second = (text for text in figure.texts[:4] if text.get_text() != "→")
    assert first.get_text().replace("\n", " ") == f"a.txt {reason}"
    assert first.get_text().count("\n") == 2 and first.get_color() == plot.VERMILION
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer)
             for text in figure.texts if text.get_text() != "→"]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1:])


@pytest.mark.parametrize("epochs", [[0], [8, 9, 10], [*range(300)], [10, 11]], ids=len)
def test_learning_curves_plot_what_they_are_given_and_published_runs_dashed(epochs):
    curves = [1 / (1 + np.arange(len(epochs))), np.linspace(0.8, 1, len(epochs)),
              np.linspace(0.85, 0.98, len(epochs))]
    loss, accuracy = plot.learning_curves(epochs, *curves, published.RUNS).axes
    known = [epoch for epoch in epochs if epoch < 10]
    expected = {
        "-": [(epochs, list(curve)) for curve in curves],
        "--": [(known, [run[epoch][column] for epoch in known])
               for column in range(3) for run in published.RUNS if known],
    }
    for style in expected:
        assert expected[style] == [
            (list(line.get_xdata()), list(line.get_ydata()))
            for line in (*loss.lines, *accuracy.lines) if line.get_linestyle() == style]
    assert texts_of(accuracy.get_legend()) == (
        ["training", "training, published", "test", "test, published"] if known
        else ["training", "test"])
    assert loss.get_yscale() == ("log" if len(epochs) == 300 else "linear")
    assert all(tick == int(tick) for tick in loss.get_xticks())
    percent = accuracy.yaxis.get_major_formatter()
    assert [percent(share) for share in (0.5, 0.975)] == ["50%", "97.5%"]


def test_confusion_matrix_counts():
    axes, = plot.confusion_matrix([0, 1, 2, 2, 2, 2], [0, 0, 2, 1, 1, 2], num_classes=3).axes
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "1", (1, 0): "0", (2, 0): "0",
        (0, 1): "1", (1, 1): "0", (2, 1): "0",
        (0, 2): "0", (1, 2): "2", (2, 2): "2",
    }
    # No colour where all is right.
    assert shown(axes).tolist() == [[None, 0, 0], [1, None, 0], [0, 2, None]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    assert axes.get_title("left") == "3 of 6 wrong (50.00%)"
    axes, = plot.confusion_matrix([1], [1]).axes
    assert axes.images[0].get_clim() == (0, 1)


def luminance(color):
    """As WCAG 2 defines it."""
    levels = np.array(matplotlib.colors.to_rgb(color))
    levels = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return levels @ [0.2126, 0.7152, 0.0722]


def test_every_number_of_a_confusion_matrix_can_be_read_on_a_projector():
    predictions = np.repeat(np.arange(10), np.arange(0, 100, 10))
    axes, = plot.confusion_matrix(np.full(len(predictions), 9), predictions).axes
    image, = axes.images
    colors = image.to_rgba(image.get_array())[..., :3]
    assert len({text.get_text() for text in axes.texts}) > 5
    for text in axes.texts:
        column, row = text.get_position()
        behind = axes.get_facecolor()[:3] if row == column else colors[row, column]
        pale, dark = sorted([luminance(text.get_color()), luminance(behind)], reverse=True)
        assert (pale + 0.05) / (dark + 0.05) > 4.5  # WCAG 2, level AA


def test_classes_are_shown_by_their_names():
    names = ["Bag", "Coat", "Shirt"]
    axes, = plot.confusion_matrix([0, 1, 2, 2], [0, 0, 2, 1], num_classes=3, classes=names).axes
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == names
    figure = plot.strip(IMAGES[:3], np.array([0.0, 1, 2]), np.array([0.0, 2, 2]), classes=names)
    assert captions_of(figure, "#000000") == ["Bag", "Shirt"]
    assert captions_of(figure, plot.VERMILION) == ["Coat,\nis Shirt"]
    probabilities = np.array([[0.2, 0.8, 0], [1, 0, 0]])
    figure = plot.mistakes(IMAGES[:2], np.array([0, 0]), np.array([1, 0]), probabilities,
                           classes=names)
    assert captions_of(figure, plot.VERMILION) == ["Coat (80.0%),\nis Bag"]


def test_mistakes_are_the_most_confident_first():
    labels = np.array([3, *LABELS[1:]])
    probabilities = np.full((12, 10), 0.05)
    probabilities[[0, 8, 11], PREDICTIONS[[0, 8, 11]]] = 0.5, 0.7, 0.9
    figure = plot.mistakes(IMAGES, labels, PREDICTIONS, probabilities, count=2)
    assert captions_of(figure, plot.VERMILION) == ["6 (90.0%), is 8", "6 (70.0%), is 5"]
    assert texts_of(figure) == ["prediction (its probability), and the truth"]
    assert all((shown(axes) == IMAGES[i]).all() for axes, i in zip(figure.axes, (11, 8)))
    assert len(plot.mistakes(IMAGES, labels, PREDICTIONS, probabilities).axes) == 3
    figure = plot.mistakes(IMAGES, LABELS, LABELS, probabilities)
    assert texts_of(figure) == ["no wrong predictions"]


def test_first_layer_shows_the_columns_with_the_largest_norms():
    W1 = RANDOM.normal(size=(784, 6)) * [1, 3, 2, 0.1, 5, 4]
    *cells, bar = plot.first_layer(W1, count=4).axes
    assert len(cells) == 4
    for axes, column in zip(cells, (4, 5, 1, 2)):
        assert (shown(axes).ravel() == W1[:, column]).all()
        low, high = axes.images[0].get_clim()
        assert low == -high and high == cells[0].images[0].get_clim()[1] > 0
    assert not bar.images and bar.get_position().x0 > cells[-1].get_position().x1


@pytest.mark.parametrize("suffix, magic", [
    (".PNG", b"\x89PNG\r\n"), (".svg", b"<?xml"), (".pdf", b"%PDF"),
])
def test_save_writes_the_same_bytes_each_time_or_nothing(tmp_path, suffix, magic):
    path = tmp_path / f"picture{suffix}"
    plot.check_path(path)  # changes nothing
    assert not path.exists()
    contents = []
    for _ in range(2):
        plot.save(plot.strip(IMAGES[:1], [0]), path)
        contents.append(path.read_bytes())
    assert contents[0].startswith(magic) and contents[0] == contents[1]

    def savefig(file, **options):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match=f"{path} cannot be written: No space left on device"):
        plot.save(types.SimpleNamespace(savefig=savefig), path)
    assert path.read_bytes() == contents[0] and os.listdir(tmp_path) == [path.name]


def test_arguments_that_do_not_fit_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(plot, "MAX_DIGITS", 2)
    (tmp_path / "a.png").mkdir()
    figure = plot.inputs(IMAGES[:2], IMAGES[:2], ["a", "b"])
    assert len(figure.axes) == 4
    for function, arguments, message in (
        (plot.inputs, ([None], [None, None], ["a", "b"]), "found 1, 2 and 2"),
        (plot.inputs, ([None] * 3, [None] * 3, ["a"] * 3), "1 to 2 digits to draw, found 3"),
        (plot.strip, (IMAGES[0], [7]), r"\(n, height, width\).*found shapes \(28, 28\), \(1,\)"),
        (plot.mistakes, (IMAGES, LABELS, PREDICTIONS, np.ones((3, 10))), r"\(3, 10\)"),
        (plot.strip, (IMAGES[:0], []), "1 to 2 digits to draw, found 0"),
        (plot.strip, (IMAGES[:3], LABELS[:3]), "1 to 2 digits to draw, found 3"),
        (plot.check_path, ("picture.jpg",), "ends in .png, .svg or .pdf, found 'picture.jpg'"),
        (plot.save, (figure, "picture.jpg"), "ends in .png, .svg or .pdf, found 'picture.jpg'"),
        (plot.check_path, (tmp_path / "a.png",), "a.png cannot be written: Is a directory"),
    ):
        with pytest.raises(InputError, match=message):
            function(*arguments)


def test_matplotlibs_state_is_left_alone(python, tmp_path):
    program = f"""
import sys
from mlp_mx import plot
assert "matplotlib" not in sys.modules
import matplotlib
import numpy as np
before = matplotlib.rcParams.copy()  # dict(…) would import pyplot
images = np.ones((1, 28, 28))
for figure in plot.strip(images, [0]), plot.learning_curves([0], [1], [0.5], [0.5]):
    plot.save(figure, "{tmp_path}/figure.svg")
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    result = python("-W", "error:::mlp_mx", "-c", program)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("environment, complaint", [
    ({"MPLBACKEND": "bogus"}, "Matplotlib cannot be imported: Key backend: 'bogus' is not a valid "
     "value for backend; unset MPLBACKEND"),
    ({"MATPLOTLIBRC": "."}, "matplotlibrc sets text.usetex, but latex is not installed; install "
     "it, or remove that setting"),
])
def test_wrong_settings_get_one_line_before_anything_is_done(
    python, tmp_path, monkeypatch, environment, complaint
):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no latex
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    result = python("-m", "mlp_mx.train", "--plot", "a.png", "--data-dir", "data", **environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.endswith(f"{complaint}\n")
    assert result.stderr.count("\n") == 1 and os.listdir(tmp_path) == ["matplotlibrc"]

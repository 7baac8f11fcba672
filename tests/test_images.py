"""Normalising pictures as MNIST was: what is read, what comes out, and what is rejected."""

import gzip
import io
import os

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from mlp_mx.predict import images


def drawing(width=12, ink=0, paper=255):
    """A three in a picture of 300 x 400 pixels."""
    picture = Image.new("L", (400, 300), paper)
    pen = ImageDraw.Draw(picture)
    pen.arc((150, 60, 240, 150), 200, 90, ink, width)
    pen.arc((140, 150 - width, 245, 245), 270, 160, ink, width)
    return picture


THREE = images.to_mnist(np.asarray(drawing()))


def difference(a, b=THREE):
    """Of two images in MNIST's form, as a fraction of the ink."""
    return np.abs(a.astype(int) - b).sum() / np.maximum(a, b).sum(dtype=int)


def test_to_mnist_leaves_mnist_nearly_unchanged(mnist_dir):
    with gzip.open(mnist_dir / "t10k-images-idx3-ubyte.gz") as file:
        digits = np.frombuffer(file.read(16 + 150 * 784)[16:], np.uint8).reshape(150, 28, 28)
    found = [images.to_mnist(digit) for digit in digits]
    differences = [difference(*pair) for pair in zip(found, digits)]
    # The centre of mass of some is half-way between two pixels.
    assert np.median(differences) < 0.02 and np.quantile(differences, 0.95) < 0.1
    assert all(difference(images.to_mnist(255 - digit), same) < 0.02
               for digit, same in zip(digits[:30], found))


@pytest.mark.parametrize("width", [1, 3, 12, 30])
def test_to_mnist_gives_mnists_form(width):
    image = images.to_mnist(np.asarray(drawing(width)))
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    assert max(np.ptp(places) for places in np.nonzero(image)) + 1 == 20
    for axis in (0, 1):
        profile = image.sum(axis=axis, dtype=float)
        assert abs(profile @ np.arange(28) / profile.sum() - 14) <= 0.51
    assert 10 < image.mean() < 60  # MNIST's digits: 8 to 80


@pytest.fixture
def check_read(tmp_path, monkeypatch):
    """Check that `drawing` is read from a picture of it, also at half its size."""

    def check(picture, name, **options):
        picture.save(tmp_path / name, **options)
        for longer_side, bound in (400, 0.05), (200, 0.15):
            monkeypatch.setattr(images, "LARGE", longer_side)
            found = images.read(tmp_path / name)
            assert max(found.shape) == longer_side and difference(images.to_mnist(found)) < bound

    return check


def test_read_takes_any_colours(check_read):
    for mode in ("L", "RGB", "RGBA", "P", "LA", "CMYK", "1", "F"):
        check_read(drawing().convert(mode), f"{mode}.tif")


def coloured(ink, paper):
    """The three in two colours."""
    share = np.asarray(drawing())[..., None] / 255
    return Image.fromarray(np.rint(share * paper + (1 - share) * ink).astype(np.uint8))


ALIKE = [  # ink and paper of the same brightness, to a grey level
    ((200, 0, 0), (0, 102, 0)), ((0, 102, 0), (200, 0, 0)), ((230, 60, 120), (60, 140, 164)),
    ((70, 130, 180), (125, 117, 60)), ((250, 140, 30), (90, 180, 255)),
]


@pytest.mark.parametrize("ink, paper", ALIKE)
def test_ink_may_differ_from_paper_by_colour_alone(check_read, tmp_path, ink, paper):
    picture = coloured(np.array(ink), np.array(paper))
    assert np.ptp(np.asarray(picture.convert("L"))) <= 6
    check_read(picture, "picture.png")
    picture.save(tmp_path / "picture.jpg", quality=90)  # halves the resolution of colours
    assert difference(images.to_mnist(images.read(tmp_path / "picture.jpg"))) < 0.15
    assert (images.read(tmp_path / "picture.png")[0, 0] == paper).all()  # the colours are kept
    noise = np.random.RandomState(0).normal(0, 0.02, (300, 400, 3))
    light = np.linspace(1, 0.7, 400)[:, None] + noise
    lit = (np.asarray(picture) * light).clip(0, 255).astype(np.uint8)
    assert difference(images.to_mnist(lit)) < 0.15


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (250, 240, 120)])
def test_read_takes_a_shape_that_is_in_the_alpha_alone(check_read, colour):
    mask = Image.fromarray(255 - np.asarray(drawing()))
    picture = Image.new("RGBA", mask.size, (*colour, 0))
    picture.paste((*colour, 255), mask=mask)
    check_read(picture, "alpha.png")
    check_read(picture.quantize(8), "indexed.png")


def test_read_turns_a_picture_as_its_camera_says(check_read):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    picture = drawing().convert("RGB").transpose(Image.Transpose.ROTATE_90)
    for suffix in ("jpg", "png", "webp"):
        check_read(picture, f"lying.{suffix}", exif=exif)
    check_read(drawing(), "odd.jpg", exif=b"Exif\0\0damaged")


@pytest.mark.parametrize("dtype, factor", [
    ("uint16", 1), ("int32", 1), ("float32", 1), ("float32", 1 / 255), ("uint16", 257),
    ("int32", 257),
])
def test_read_takes_wider_numbers_and_fractions(check_read, tmp_path, monkeypatch, dtype, factor):
    picture = np.asarray(drawing(ink=20, paper=230))
    check_read(Image.fromarray((picture * np.float64(factor)).astype(dtype)), "wide.tif")
    monkeypatch.setattr(images, "LARGE", 400)
    assert np.abs(images.read(tmp_path / "wide.tif").astype(int) - picture).max() <= 1


def test_ink_is_what_differs_from_uneven_noisy_paper():
    mask = np.asarray(drawing()) == 0
    light = np.linspace(200, 150, 400)[None] + np.random.RandomState(0).normal(0, 12, mask.shape)
    picture = np.where(mask, 70, light).clip(0, 255).astype(np.uint8)
    for ink in (images.ink(picture), images.ink(255 - picture)):
        assert ink.shape == mask.shape
        assert abs(np.median(ink[~mask])) < 4 and np.median(ink[mask]) > 70


@pytest.mark.parametrize("kind", ["dark corners", "flash"])
@pytest.mark.parametrize("ink, paper", [(50, 240), (240, 50)])
def test_light_in_the_middle_is_no_ink(kind, ink, paper):
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = (1 - 0.25 * (x ** 2 + y ** 2) if kind == "dark corners"
             else 0.5 + 0.5 * np.exp(-((x - 0.2) ** 2 + (y - 0.1) ** 2) / 0.2))
    lit = np.asarray(drawing(ink=ink, paper=paper)) * light
    assert difference(images.to_mnist(lit.astype(np.uint8))) < 0.3


TABLE = (350, 0), (400, 0), (400, 300), (385, 300)  # aslant
SPECKS = np.random.RandomState(0).randint(0, 290, (40, 2)).tolist()
DIRT = {  # what to draw, on which paper, and the bound of the difference
    "margin line": (lambda pen: pen.line((40, 0, 40, 300), 100, 3), 240, 0.05),
    "oblique line": (lambda pen: pen.line((45, 0, 65, 300), 100, 3), 240, 0.05),
    "frame": (lambda pen: pen.rectangle((0, 0, 399, 299), outline=0, width=4), 240, 0.05),
    "frame inside": (lambda pen: pen.rectangle((10, 10, 389, 289), outline=0, width=4), 240, 0.05),
    "table": (lambda pen: pen.rectangle((360, 0, 400, 300), 60), 240, 0.05),
    "table aslant": (lambda pen: pen.polygon(TABLE, 40), 180, 0.15),
    "light table": (lambda pen: pen.polygon(((0, 255), (0, 300), (400, 300), (400, 290)), 250),
                    180, 0.15),
    "specks": (lambda pen: [pen.rectangle((x, y, x + 1, y + 1), 0) for y, x in SPECKS], 240, 0.1),
}


@pytest.mark.parametrize("draw_dirt, paper, bound", DIRT.values(), ids=DIRT)
def test_what_is_along_the_sides_and_specks_are_left_out(draw_dirt, paper, bound):
    picture = drawing(paper=paper)
    draw_dirt(ImageDraw.Draw(picture))
    assert difference(images.to_mnist(np.asarray(picture))) < bound


def test_a_fine_grid_behind_a_white_digit_is_no_ink():
    picture = np.asarray(drawing(ink=255, paper=0)).copy()
    for lines in (picture[::5], picture[:, ::5]):
        lines[lines == 0] = 150
    assert difference(images.to_mnist(picture)) < 0.3


def plotted(draw, **options):
    """A figure of Matplotlib, as `savefig` makes it."""
    figure = Figure(**options)
    draw(figure, np.asarray(THREE))
    file = io.BytesIO()
    figure.savefig(file)
    return np.asarray(Image.open(file).convert("RGB"))


PLOTS = {
    "viridis": lambda figure, three: figure.add_subplot().imshow(three),
    "grey": lambda figure, three: figure.add_subplot(title="label: 3").imshow(three, "gray"),
    "black on white": lambda figure, three: figure.add_subplot().imshow(three, "gray_r"),
    "no axes": lambda figure, three: figure.add_axes([0.1, 0.1, 0.8, 0.8], frameon=False, xticks=[],
                                                     yticks=[]).imshow(three, "gray"),
    "colour bar": lambda figure, three: figure.colorbar(figure.add_subplot().imshow(three)),
}


@pytest.mark.parametrize("draw", PLOTS.values(), ids=PLOTS)
@pytest.mark.parametrize("size", [(6.4, 4.8), (3, 3)])
def test_a_plot_with_axes_is_cropped_to_its_digit(draw, size):
    assert difference(images.to_mnist(plotted(draw, figsize=size))) < 0.3


def test_a_plot_of_two_digits_is_refused():
    def draw_two(figure, three):
        for axes in figure.subplots(1, 2):
            axes.imshow(three, "gray_r")

    refuses(plotted(draw_two), "expected one digit, found")


@pytest.mark.parametrize("draw", [
    lambda figure, _: figure.add_subplot(),
    lambda figure, _: figure.add_subplot(title="a title", xlabel="x"),
], ids=["axes", "labels"])
def test_a_plot_of_nothing_is_blank(draw):
    refuses(plotted(draw), "found a blank picture")
    refuses(plotted(draw, dpi=300), "found a blank picture")


def test_a_zero_of_straight_lines_is_no_frame():
    zero = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(zero).rectangle((80, 40, 220, 260), outline=0, width=8)
    read = images.to_mnist(np.asarray(zero))
    assert np.ptp(np.nonzero(read > 127)[0]) + 1 == 20 and not read[10:18, 13:15].any()


def test_an_eight_of_straight_lines_is_no_frame():
    eight = Image.new("L", (200, 300), 255)
    pen = ImageDraw.Draw(eight)
    pen.rectangle((50, 50, 150, 250), outline=0, width=12)
    pen.line((50, 150, 150, 150), 0, 12)
    ys, xs = np.nonzero(images.to_mnist(np.asarray(eight)) > 127)
    assert np.ptp(ys) + 1 == 20 and 9 <= np.ptp(xs) + 1 <= 12


def test_a_digit_may_be_broken():
    five = Image.new("L", (300, 300), 255)
    pen = ImageDraw.Draw(five)
    pen.line((140, 60, 200, 55), 0, 14)  # the bar is 20 pixels away
    pen.line((105, 70, 100, 130), 0, 14)
    pen.arc((80, 120, 190, 230), 230, 150, 0, 14)
    assert np.nonzero(images.to_mnist(np.asarray(five)))[0].min() <= 5  # with its bar


def refuses(picture, complaint):
    with pytest.raises(images.ImageError, match=complaint):
        images.to_mnist(np.asarray(picture))


def test_to_mnist_refuses_what_is_not_one_digit():
    refuses(np.hstack([drawing(), drawing()]), "expected one digit, found several things")
    refuses(np.tile(drawing().resize((80, 60)), (6, 6)), "found several things")
    table = np.full((300, 300), 60, np.uint8)
    table[110:190, 100:170] = 220
    refuses(table, "found something solid, such as paper on a table")
    line = np.full((100, 400), 255, np.uint8)
    line[15:85, 50:350] = 0
    refuses(line, "found something more than 3 times as wide")
    images.to_mnist(line.T)  # a 1
    head_on_a_stick = Image.new("L", (300, 300), 240)
    pen = ImageDraw.Draw(head_on_a_stick)
    pen.ellipse((110, 60, 190, 140), 60)
    pen.line((150, 140, 150, 270), 60, 8)
    pen.line((100, 200, 200, 170), 60, 8)
    refuses(head_on_a_stick, "expected a digit made of even strokes")


def test_to_mnist_refuses_blank_pictures():
    for shape in ((1, 1), (1, 300), (28, 28), (300, 200)):
        for grey in (0, 128, 255):
            refuses(np.full(shape, grey, np.uint8), "blank")
    for seed in range(5):
        noise = np.random.RandomState(seed).normal(0, 12, (300, 300))
        light = np.linspace(150, 210, 300)[:, None] + noise
        refuses(light.clip(0, 255).astype(np.uint8), "blank")
    table = Image.new("L", (400, 300), 180)
    ImageDraw.Draw(table).polygon(TABLE, 40)
    refuses(table, "blank")


def spiral(first, last):
    """A line from one number of turns around the middle to another."""
    turn = np.linspace(first, last, 1000)
    radius, angle = 10 + 36 * turn, 2 * np.pi * turn
    points = 150 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    picture = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(picture).line([*map(tuple, points)], 0, 10)
    return np.asarray(picture)


def test_a_line_is_one_thing_however_it_winds():
    for picture in spiral(0, 3), spiral(0, 3)[::-1], spiral(0, 3).T, spiral(0, 3).T[::-1]:
        across = np.diff(images.to_mnist(picture)[14] > 128)
        assert np.count_nonzero(across) == 12  # into the line and out of it, twice per turn
    for picture in np.eye(30), np.eye(30)[::-1]:  # pixels that touch at their corners
        image = images.to_mnist(np.pad(255 * picture.astype(np.uint8), 10))
        assert [np.ptp(places) + 1 for places in np.nonzero(image)] == [20, 20]


def test_things_at_opposite_sides_do_not_touch():
    picture = Image.new("L", (300, 300), 255)
    pen = ImageDraw.Draw(picture)
    pen.line((0, 85, 170, 85), 0, 10)
    pen.line((300, 85, 250, 85, 250, 220, 130, 220), 0, 10)
    refuses(picture, "found several things")


@pytest.mark.parametrize("write, complaint", [
    (lambda path: None, "cannot be read: No such file"),
    (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    (lambda path: os.mkfifo(path), "cannot be read: Not a regular file"),
    (lambda path: path.touch(), "found an empty file"),
    (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
     "found something else; convert it"),
    (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "found HEIC; convert"),
    (lambda path: drawing().save(path) or path.write_bytes(path.read_bytes()[:-200]),
     "damaged .*truncated"),
    (lambda path: Image.new("1", (300, 401)).save(path), "at most 0 megapixels, found more; scale"),
    (lambda path: Image.new("1", (601, 400)).save(path), "at most 0 megapixels, found more; scale"),
], ids=["absent", "folder", "pipe", "empty", "program", "HEIC", "truncated", "large", "larger"])
def test_read_says_what_is_wrong_with_a_file(tmp_path, monkeypatch, write, complaint):
    path = tmp_path / "picture.png"
    write(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 120_000)
    with pytest.raises(images.ImageError, match=complaint) as error:
        images.read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_read_says_so_where_memory_does_not_suffice(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError
    drawing().save(tmp_path / "picture.png")
    monkeypatch.setattr(images, "_averageable", fail)
    with pytest.raises(images.ImageError, match="cannot be read: Cannot allocate memory"):
        images.read(tmp_path / "picture.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_truncated_files_are_refused_in_one_line(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    drawing().resize((80, 60)).save(path)
    content = path.read_bytes()
    for share in (0.02, 0.3, 0.6):
        path.write_bytes(content[:int(share * len(content))])
        with pytest.raises(images.ImageError, match="damaged|expected a picture") as error:
            images.read(path)
        assert "\n" not in str(error.value)

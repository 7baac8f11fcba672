"""Pictures on their way to MNIST's form: what is read, what comes out, and what is refused."""

import gzip
import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mlp_mx.predict import images


@pytest.fixture(scope="module")
def digits(mnist_dir):
    """The first 300 test images of MNIST."""
    content = gzip.decompress((mnist_dir / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, 300 * 784, 16).reshape(300, 28, 28)


def drawing(width=12, size=(300, 400), place=(60, 150), ink=0, paper=255):
    """A three."""
    picture = Image.new("L", size[::-1], paper)
    pen = ImageDraw.Draw(picture)
    y, x = place
    pen.arc((x, y, x + 90, y + 90), 200, 90, ink, width)
    pen.arc((x - 10, y + 90 - width, x + 95, y + 185), 270, 160, ink, width)
    return picture


def seen(picture, path, **options):
    picture.save(path, **options)
    return images.to_mnist(images.read(path))


def difference(a, b):
    """Of two images in MNIST's form, as a fraction of the ink."""
    return np.abs(a.astype(int) - b).sum() / np.maximum(a, b).sum(dtype=int)


def test_to_mnist_leaves_mnist_nearly_unchanged(digits):
    differences = [difference(images.to_mnist(digit), digit) for digit in digits]
    # The centre of mass of some is half-way between two pixels.
    assert np.median(differences) < 0.02 and np.quantile(differences, 0.95) < 0.1
    assert all(difference(images.to_mnist(255 - digit), images.to_mnist(digit)) < 0.02
               for digit in digits[:30])


@pytest.mark.parametrize("width", [1, 3, 12, 30])
def test_to_mnist_gives_mnists_form(width):
    image = images.to_mnist(np.asarray(drawing(width)))
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    ys, xs = np.nonzero(image)
    assert max(np.ptp(ys), np.ptp(xs)) + 1 == 20
    for axis in (0, 1):
        profile = image.sum(axis=axis, dtype=float)
        assert abs(profile @ np.arange(28) / profile.sum() - 14) <= 0.51
    assert 10 < image.mean() < 60  # MNIST's digits: 8 to 80


@pytest.mark.parametrize("form", ["RGB", "RGBA", "P", "LA", "CMYK", "1", "I;16", "16 bit", "F"])
def test_read_takes_any_colours(tmp_path, form):
    picture = drawing()
    expected = seen(picture, tmp_path / "picture.png")
    if form in ("I;16", "16 bit"):
        wide = np.asarray(picture).astype(np.uint16) * 257
        picture = Image.fromarray(wide if form == "I;16" else wide.astype(np.int32))
    else:
        picture = picture.convert(form)
    suffix = "tif" if form in ("CMYK", "F", "16 bit") else "png"
    assert difference(seen(picture, tmp_path / f"other.{suffix}"), expected) < 0.1


@pytest.mark.parametrize("dtype, factor", [
    ("uint16", 1), ("int32", 1), ("float32", 1), ("float32", 1 / 255)])
def test_read_takes_8_bits_in_wider_numbers_and_fractions(tmp_path, dtype, factor):
    picture = drawing(ink=20, paper=230)
    Image.fromarray((np.asarray(picture) * factor).astype(dtype)).save(tmp_path / "wide.tif")
    assert np.abs(images.read(tmp_path / "wide.tif").astype(int) - np.asarray(picture)).max() <= 1


@pytest.mark.parametrize("form", ["L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_read_reduces_large_pictures_of_any_colours(tmp_path, monkeypatch, form):
    picture = drawing()
    expected = images.to_mnist(np.asarray(picture))
    if form == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture = picture.convert(form)
    picture.save(tmp_path / "large.tif")
    monkeypatch.setattr(images, "LARGE", 200)
    assert images.read(tmp_path / "large.tif").shape == (150, 200)
    assert difference(images.to_mnist(images.read(tmp_path / "large.tif")), expected) < 0.15


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (20, 60, 200), (250, 240, 120)])
def test_read_takes_a_shape_that_is_in_the_alpha_alone(tmp_path, colour):
    mask = Image.fromarray(255 - np.asarray(drawing()))
    picture = Image.new("RGBA", mask.size, (*colour, 0))
    picture.paste((*colour, 255), mask=mask)
    assert difference(seen(picture, tmp_path / "alpha.png"),
                      images.to_mnist(np.asarray(drawing()))) < 0.05
    indexed = picture.quantize(8)
    assert difference(seen(indexed, tmp_path / "indexed.png"),
                      images.to_mnist(np.asarray(drawing()))) < 0.1


def test_read_turns_a_picture_as_its_camera_says(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying = drawing().transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.jpg", exif=exif)
    lying.save(tmp_path / "lying.png", exif=exif)
    for shape in ((300, 400), (150, 200)):
        for name in ("lying.jpg", "lying.png"):
            image = images.read(tmp_path / name)
            assert image.shape == shape
            assert difference(images.to_mnist(image), images.to_mnist(np.asarray(drawing()))) < 0.15
        monkeypatch.setattr(images, "LARGE", 200)


def test_ink_is_what_differs_from_uneven_noisy_paper():
    mask = np.asarray(drawing()) == 0
    light = np.linspace(200, 150, 400)[None] + np.random.RandomState(0).normal(0, 12, mask.shape)
    dark = images.ink(np.where(mask, 70, light).clip(0, 255).astype(np.uint8))
    bright = images.ink(255 - np.where(mask, 70, light).clip(0, 255).astype(np.uint8))
    for ink in (dark, bright):
        assert ink.shape == mask.shape
        assert abs(np.median(ink[~mask])) < 4 and np.median(ink[mask]) > 70


def light(kind):
    """From 0 to 1, of 300 x 400 pixels."""
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    if kind == "dark corners":
        return 1 - 0.25 * (x ** 2 + y ** 2)
    return 0.5 + 0.5 * np.exp(-((x - 0.2) ** 2 + (y - 0.1) ** 2) / 0.2)


@pytest.mark.parametrize("kind", ["dark corners", "flash"])
@pytest.mark.parametrize("ink, paper", [(50, 240), (240, 50)])
def test_light_in_the_middle_is_no_ink(kind, ink, paper):
    lit = np.asarray(drawing(ink=ink, paper=paper)) * light(kind)
    assert difference(images.to_mnist(lit.astype(np.uint8)),
                      images.to_mnist(np.asarray(drawing()))) < 0.3


@pytest.mark.parametrize("kind", ["margin line", "oblique", "frame", "frame inside", "table"])
def test_what_is_along_the_sides_is_left_out(kind):
    picture = drawing(paper=240)
    pen = ImageDraw.Draw(picture)
    if kind == "margin line":
        pen.line((40, 0, 40, 300), 100, 3)
    elif kind == "oblique":
        pen.line((45, 0, 65, 300), 100, 3)
    elif kind == "table":
        pen.rectangle((360, 0, 400, 300), 60)
    else:
        inset = 0 if kind == "frame" else 10
        pen.rectangle((inset, inset, 399 - inset, 299 - inset), outline=0, width=4)
    assert difference(images.to_mnist(np.asarray(picture)),
                      images.to_mnist(np.asarray(drawing()))) < 0.05


def test_to_mnist_refuses_paper_on_a_table():
    table = np.full((300, 300), 60, np.uint8)
    table[110:190, 100:170] = 220
    with pytest.raises(images.ImageError, match="found something solid, such as paper on a table"):
        images.to_mnist(table)


def test_specks_and_distant_dirt_are_left_out():
    expected = images.to_mnist(np.asarray(drawing()))
    dirty = drawing()
    pen = ImageDraw.Draw(dirty)
    for y, x in np.random.RandomState(0).randint(0, 290, (40, 2)).tolist():
        pen.rectangle((x, y, x + 1, y + 1), 0)
    assert difference(images.to_mnist(np.asarray(dirty)), expected) < 0.1


def test_a_broken_digit_is_one_and_two_digits_are_refused():
    five = Image.new("L", (300, 300), 255)
    pen = ImageDraw.Draw(five)
    pen.line((140, 60, 200, 55), 0, 14)  # the bar is 20 pixels away
    pen.line((105, 70, 100, 130), 0, 14)
    pen.arc((80, 120, 190, 230), 230, 150, 0, 14)
    assert np.nonzero(images.to_mnist(np.asarray(five)))[0].min() <= 5  # with its bar
    two = np.hstack([np.asarray(drawing()), np.asarray(drawing())])
    with pytest.raises(images.ImageError, match="expected one digit, found several things"):
        images.to_mnist(two)


@pytest.mark.parametrize("table", [40, 250])
@pytest.mark.parametrize("corners", [[(350, 0), (400, 0), (400, 300), (385, 300)],
                                     [(0, 255), (0, 300), (400, 300), (400, 290)]])
def test_a_table_with_a_slanted_edge_is_left_out(table, corners):
    picture = drawing(paper=180)
    ImageDraw.Draw(picture).polygon(corners, table)
    assert difference(images.to_mnist(np.asarray(picture)),
                      images.to_mnist(np.asarray(drawing()))) < 0.15


def test_a_dark_table_alone_is_blank():
    blank = Image.new("L", (400, 300), 180)
    ImageDraw.Draw(blank).polygon([(350, 0), (400, 0), (400, 300), (385, 300)], 40)
    with pytest.raises(images.ImageError, match="blank"):
        images.to_mnist(np.asarray(blank))


def test_a_fine_grid_behind_a_white_digit_is_no_ink():
    picture = np.asarray(drawing(ink=255, paper=0)).copy()
    for lines in (picture[::5], picture[:, ::5]):
        lines[lines == 0] = 150
    assert difference(images.to_mnist(picture), images.to_mnist(np.asarray(drawing()))) < 0.3


def test_to_mnist_refuses_a_page_of_digits():
    digit = np.asarray(drawing().resize((80, 60)))
    with pytest.raises(images.ImageError, match="found several things"):
        images.to_mnist(np.tile(digit, (6, 6)))


def test_to_mnist_refuses_a_shape_that_no_pen_draws():
    picture = Image.new("L", (300, 300), 240)
    pen = ImageDraw.Draw(picture)
    pen.ellipse((110, 60, 190, 140), 60)  # a head on a stick
    pen.line((150, 140, 150, 270), 60, 8)
    pen.line((100, 200, 200, 170), 60, 8)
    with pytest.raises(images.ImageError, match="made of even strokes"):
        images.to_mnist(np.asarray(picture))


def test_read_names_heic(tmp_path):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(images.ImageError, match="found HEIC; convert it"):
        images.read(tmp_path / "photo.heic")


def test_to_mnist_refuses_a_line_of_writing():
    line = np.full((100, 400), 255, np.uint8)
    line[40:60, 50:350] = 0
    with pytest.raises(images.ImageError, match="found something more than 3 times as wide"):
        images.to_mnist(line)
    images.to_mnist(line.T)  # a 1


def test_components_are_those_of_a_flood_fill():
    random = np.random.RandomState(0)
    for share in (0.2, 0.4, 0.5, 0.8):
        mask = random.random_sample((40, 50)) < share
        found = images._components(mask)
        assert ((found > 0) == mask).all()
        left = set(zip(*np.nonzero(mask)))
        parts = []
        while left:
            part, edge = set(), [left.pop()]
            while edge:
                y, x = edge.pop()
                part.add((y, x))
                near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
                left -= near
                edge.extend(near)
            parts.append(part)
        numbers = [{found[pixel] for pixel in part} for part in parts]
        assert all(len(number) == 1 for number in numbers)
        assert len(set.union(*numbers)) == len(parts) == found.max()


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (28, 28), (300, 200)])
def test_blank_pictures_are_refused(shape, grey):
    with pytest.raises(images.ImageError, match="blank"):
        images.to_mnist(np.full(shape, grey, np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_light_on_paper_are_no_digit(seed):
    random = np.random.RandomState(seed)
    light = np.linspace(150, 210, 300)[:, None] + random.normal(0, 12, (300, 300))
    with pytest.raises(images.ImageError, match="blank"):
        images.to_mnist(light.clip(0, 255).astype(np.uint8))


def write(path, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("three")
    elif kind == "program":
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    elif kind == "truncated":
        drawing().save(path, "PNG")
        path.write_bytes(path.read_bytes()[:-200])
    elif kind in ("large", "bomb"):
        side = 8001 if kind == "large" else 20000
        Image.new("1", (side, side)).save(path, "PNG")  # a few kilobytes


@pytest.mark.parametrize("kind, complaint", [
    ("absent", "cannot be read: No such file"), ("folder", "found a folder"),
    ("pipe", "found a pipe"), ("empty", "found an empty file"),
    ("text", "found something else"), ("program", "found something else"),
    ("truncated", "is damaged: .*truncated"),
    ("large", "at most 64 megapixels, found 8001 x 8001"), ("bomb", "at most 64 megapixels"),
])
def test_read_says_what_is_wrong_with_a_file(tmp_path, monkeypatch, kind, complaint):
    path = tmp_path / "picture.png"
    write(path, kind)
    if kind in ("large", "bomb"):
        monkeypatch.setattr(images, "_grey", None)  # is not reached
    with pytest.raises(images.ImageError, match=complaint) as error:
        images.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_read_leaves_too_little_memory_to_its_caller(tmp_path, monkeypatch):
    def fail(picture):
        raise MemoryError
    drawing().save(tmp_path / "picture.png")
    monkeypatch.setattr(images, "_grey", fail)
    with pytest.raises(MemoryError):
        images.read(tmp_path / "picture.png")


def test_damaged_files_are_refused_or_read(tmp_path):
    random = np.random.RandomState(3)
    for suffix in ("png", "jpg", "gif", "tif", "webp", "bmp"):
        path = tmp_path / f"picture.{suffix}"
        drawing().resize((80, 60)).save(path)
        content = path.read_bytes()
        for _ in range(30):
            damaged = bytearray(content)
            for position in random.randint(0, min(len(content), 300), 3):
                damaged[position] = random.randint(256)
            path.write_bytes(damaged[:random.randint(1, len(content))])
            try:
                assert images.read(path).dtype == np.uint8
            except images.ImageError as error:
                assert "\n" not in str(error)

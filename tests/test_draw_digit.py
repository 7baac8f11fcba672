"""The page that reads drawn digits: as a file, and in a real browser where there is one.

``python tests/test_draw_digit.py PAGE PICTURE`` draws a digit in a page and saves a screenshot.
"""

import base64
import json
import pathlib
import re
import runpy
import shutil
import sys
import time
import webbrowser

import numpy as np
import pytest

from mlp_mx import checkpoint, data, model, train
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.predict import images
from mlp_mx.runtime.lazy import nd

EXAMPLE = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "examples" / "draw_digit.py"))
PAGE_LIMIT = 1.5e6  # bytes, for the chapter's network
# Headless, as root, and without requests of the browser's own.
SWITCHES = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
    "disable-background-networking", "disable-component-update", "disable-sync",
    "hide-scrollbars", "window-size=1280,800",
)
# In hundredths of the sheet's side.
THREE = [[(32, 29), (43, 18), (61, 20), (68, 32), (59, 45), (46, 48), (61, 50), (71, 62), (66, 79),
          (50, 86), (34, 80)]]
FOUR = [[(39, 18), (32, 54), (68, 54)], [(59, 21), (57, 88)]]


@pytest.fixture
def example(capsys, monkeypatch, tmp_path):
    """Run the example in an empty folder; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            code = EXAMPLE["main"](arguments)
        except SystemExit as exit:  # argparse's
            code = exit.code
        return (code, *capsys.readouterr())

    return run


def test_page_is_one_small_file_that_refers_to_no_other(example, tmp_path):
    checkpoint.save("model.npz", model.init_params(seed=0), dataset="MNIST", test_accuracy=0.9754)
    assert example("model.npz", "--no-open", "--out", "page.html") == (
        0, "page.html: 1.1 MB, for any browser\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz", "page.html"]
    text = (tmp_path / "page.html").read_text()
    assert len(text.encode()) < PAGE_LIMIT
    assert not re.search(r"https?:|\bsrc\s*=|\bimport\b|@import|url\(", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]  # no icon
    assert "Trained on MNIST; test accuracy 97.54%." in text


def test_draw_digit_opens_the_page(example, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    checkpoint.save("model.npz", model.init_params(num_hidden=3))
    assert example("model.npz")[0] == 0
    assert opened == [(tmp_path / "draw_digit.html").as_uri()]


@pytest.mark.parametrize("metadata, expected", [
    ({"dataset": "glyphs", "test_accuracy": 0.979}, "Trained on digits drawn from fonts; test "
     "accuracy 97.90%. It may misread handwriting."),
    ({"dataset": "MNIST"}, "Trained on MNIST."),
    ({"dataset": "MNIST", "test_accuracy": "<b>"}, "Trained on MNIST."),
    ({"dataset": ["<script>"], "test_accuracy": 0.5}, "Training data set: unknown."),
])
def test_about_says_what_the_metadata_say(metadata, expected):
    assert EXAMPLE["about"](metadata) == expected


@pytest.mark.parametrize("arguments, message", [
    ([], "the following arguments are required: model (--help lists the options)"),
    (["absent.npz"], "absent.npz cannot be read: No such file or directory"),
    (["model.npz"], "model.npz: expected a network with 784 inputs and 10 outputs, found "
     "20-3-3-10; use a model saved by python -m mlp_mx.train"),
    (["model.npz", "--out", "page.txt"],
     "expected a file name that ends in .html, found 'page.txt'"),
    (["model.npz", "--out", "absent/page.html"],
     "absent/page.html cannot be written: No such file or directory"),
])
def test_draw_digit_refuses_in_one_line(example, tmp_path, arguments, message):
    checkpoint.save("model.npz", model.init_params(num_inputs=20, num_hidden=3))
    assert example(*arguments, "--no-open") == (2, "", f"error: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def start_browser(profile):
    """Start Chromium with an empty profile, and let it record its requests."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for switch in (*SWITCHES, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def draw(browser, strokes, kind="mouse"):
    """Draw with the browser's own pointer events; return once the page has shown the drawing."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    box = browser.execute_script("return document.getElementById('sheet').getBoundingClientRect()")
    actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=15)
    for stroke in strokes:
        places = [(round(box["left"] + x * box["width"] / 100),
                   round(box["top"] + y * box["height"] / 100)) for x, y in stroke]
        actions.pointer_action.move_to_location(*places[0])
        actions.pointer_action.pointer_down()
        for place in places[1:]:
            actions.pointer_action.move_to_location(*place)
        actions.pointer_action.pointer_up()
    actions.perform()
    wait_for_frame(browser)


def wait_for_frame(browser):
    """Wait until what was asked for before has been shown."""
    browser.execute_async_script(
        "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def shown(browser):
    """What the page shows: the digit, and the ten percentages."""
    return browser.execute_script(
        "return [document.getElementById('digit').textContent,"
        " [...document.querySelectorAll('.value')].map((value) => value.textContent)]")


def drawing(browser):
    """The ink of the drawing, 0 to 255."""
    return np.array(browser.execute_script("return mlp_mx.drawing()"), np.uint8).reshape(280, 280)


def as_predict_sees(browser):
    """What `predict` makes of a picture of the drawing, with paper around it."""
    return images.to_mnist(np.pad(255 - drawing(browser), 60, constant_values=255))


def seen(browser):
    """What the page's network sees of the drawing, 0 to 255."""
    return np.array(browser.execute_script("return mlp_mx.input()")).reshape(28, 28)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser; the tests that need one are skipped where there is none."""
    pytest.importorskip("selenium", reason="no selenium: pip install selenium")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"no {program}: apt-get install chromium chromium-driver")
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def trained(chromium, tmp_path_factory, mnist_dir):
    """A briefly trained network of the chapter's size, its page, and MNIST's test digits."""
    train_data, test_data = data.load("mnist", mnist_dir)
    few = ArrayLoader("MNIST", train_data.data[:20000], train_data.label[:20000], 64, seed=0)
    params = model.init_params(seed=0)
    for epoch in range(2):
        train.train_epoch(params, few, 0.005, epoch)
    saved = tmp_path_factory.mktemp("page") / "model.npz"
    checkpoint.save(saved, params, dataset="MNIST", test_accuracy=0.9)
    return params, write_page(saved), test_data


def write_page(model_file):
    """Run the example's `main`, and return its page's address."""
    page = model_file.with_suffix(".html")
    assert EXAMPLE["main"]([str(model_file), "--no-open", "--out", str(page)]) == 0
    return page.as_uri()


@pytest.fixture
def page(chromium, trained):
    """The page of the trained network, just opened."""
    chromium.get(trained[1])
    chromium.get_log("browser")
    return chromium


def test_logits_are_those_of_net(page, trained):
    params, _, test_data = trained
    X = test_data.data[:200]
    expected = model.net(X, params).asnumpy()
    found = np.array(page.execute_script(
        "return arguments[0].map((pixels) => mlp_mx.logits(pixels))",
        X.asnumpy().reshape(200, 784).tolist()))
    assert np.abs(expected).max() > 3  # or else 1e-3 would be no small error
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert found.argmax(axis=1).tolist() == model.predict(X, params).asnumpy().tolist()


@pytest.mark.parametrize("digit, strokes, kind", [(3, THREE, "mouse"), (4, FOUR, "touch")])
def test_drawing_is_seen_and_read_as_predict_does(page, trained, digit, strokes, kind):
    assert shown(page) == ["?", [""] * 10]
    draw(page, strokes, kind)
    expected = as_predict_sees(page)
    np.testing.assert_allclose(seen(page), expected, rtol=0, atol=1)  # grey levels, of 255
    probabilities = model.softmax(model.net(nd.array(expected[None] / 255), trained[0])).asnumpy()
    prediction, percentages = shown(page)
    assert prediction == str(digit) == str(probabilities.argmax())
    np.testing.assert_allclose(np.array(percentages, float), 100 * probabilities[0], atol=0.6)
    W1, b1, W2, b2 = trained[0][:4]
    h1 = model.relu(nd.dot(nd.array(seen(page).reshape(1, 784) / 255), W1) + b1)
    h2 = model.relu(nd.dot(h1, W2) + b2)
    counts = re.findall(r"(\d+) of 256 active", page.find_element("id", "layers").text)
    assert len(counts) == 2
    for found, h in zip(counts, (h1, h2)):
        assert abs(int(found) - (h > 0).sum().asscalar()) <= 1  # one may be 0 but for rounding


def test_input_is_that_of_predict_for_strokes_of_any_kind(page):
    for strokes in (
        [[(50, 10), (50, 92)]],  # thin for its height: made thicker
        [[(40, 40), (55, 40), (55, 52), (44, 52), (44, 62), (57, 62)]],  # thick for it: thinner
        [[(3, 3), (99, 3), (50, 99)]],  # along the edges
        [[(30, 20), (70, 20)], [(32, 30), (30, 50), (60, 50), (66, 70), (30, 84)]],  # in two pieces
    ):
        page.find_element("id", "clear").click()
        draw(page, strokes)
        np.testing.assert_allclose(seen(page), as_predict_sees(page), rtol=0, atol=1)


def test_what_predict_refuses_gets_no_digit(page):
    for strokes, first in (
        ([[(50, 50), (51, 50)]], "No clear strokes"),
        ([[(10, 50), (90, 50)]], "Wider than a digit"),
    ):
        page.find_element("id", "clear").click()
        draw(page, strokes)
        with pytest.raises(images.ImageError):
            as_predict_sees(page)
        assert shown(page) == ["?", [""] * 10]
        assert page.find_element("id", "first").text == first


def test_clear_button_and_escape_clear(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    for clear in (page.find_element("id", "clear").click,
                  ActionChains(page).send_keys(Keys.ESCAPE).perform,
                  ActionChains(page).send_keys(Keys.DELETE).perform):
        draw(page, THREE)
        assert shown(page)[0] != "?"
        clear()
        wait_for_frame(page)
        assert shown(page) == ["?", [""] * 10] and not drawing(page).any()


def test_keyboard_draws_and_screen_readers_hear_the_prediction(page):
    from selenium.webdriver.common.keys import Keys

    sheet = page.find_element("id", "sheet")
    assert sheet.accessible_name == "Drawing area"
    sheet.send_keys(Keys.ARROW_RIGHT, " ", *[Keys.ARROW_DOWN] * 20, " ", Keys.ARROW_LEFT)
    wait_for_frame(page)
    ys, xs = np.nonzero(drawing(page) > 127)
    assert np.ptp(ys) > 140 > 30 > np.ptp(xs)
    digit = shown(page)[0]
    assert digit in "0123456789"
    time.sleep(0.8)  # it is said once the pen rests
    assert re.fullmatch(rf"{digit}, .*%\. Next: \d, .*%",
                        page.find_element("id", "live").get_property("textContent"))


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_the_screen(page, width):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 500})
    try:
        draw(page, THREE)
        assert shown(page)[0] == "3"
        wide, pixels, side = page.execute_script(
            "let sheet = document.getElementById('sheet');"
            "return [document.documentElement.scrollWidth, sheet.width, sheet.clientWidth]")
        assert wide == width and abs(pixels - 2 * side) <= 1
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_leaves_the_page(chromium, trained):
    chromium.get_log("performance")
    chromium.get(trained[1])
    draw(chromium, FOUR)
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"]
                for entry in chromium.get_log("performance")]
    requested = [message["params"]["request"]["url"] for message in messages
                 if message["method"] == "Network.requestWillBeSent"]
    assert [url for url in requested if not url.startswith("data:")] == [trained[1]]
    refused = chromium.execute_async_script(
        "fetch('http://127.0.0.1:9/').catch(() => 0);"
        "document.addEventListener('securitypolicyviolation',"
        "                          (event) => arguments[0](event.effectiveDirective))")
    assert refused == "connect-src"  # the page's own policy, whatever a script tries


@pytest.mark.parametrize("sizes", [(784, 10), (784, 30, 20, 40, 10)])
def test_any_chain_of_layers_is_shown(chromium, tmp_path, sizes):
    random = np.random.RandomState(0)
    params = [nd.array(random.normal(0, 0.1, shape)) for inputs, outputs in zip(sizes, sizes[1:])
              for shape in ((inputs, outputs), (outputs,))]
    checkpoint.save(tmp_path / "model.npz", params)
    chromium.get(write_page(tmp_path / "model.npz"))
    X = random.uniform(0, 1, (1, 784))
    y = X
    for k in range(0, len(params), 2):
        y = np.maximum(y, 0) @ params[k].asnumpy() + params[k + 1].asnumpy()
    found = chromium.execute_script("return mlp_mx.logits(arguments[0])", X[0].tolist())
    np.testing.assert_allclose(found, y[0], rtol=0, atol=1e-3)
    draw(chromium, THREE)
    names = [name.text for name in chromium.find_elements("css selector", "figcaption b")]
    assert names == ["Input", *(f"h{k}" for k in range(1, len(sizes) - 1))]


def save_picture(page, picture):
    """Draw a digit in a page, and save a screenshot."""
    import tempfile

    with tempfile.TemporaryDirectory() as profile:
        browser = start_browser(profile)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": 1280, "height": 790, "deviceScaleFactor": 1, "mobile": False})
        browser.get(pathlib.Path(page).resolve().as_uri())
        draw(browser, THREE)
        time.sleep(0.3)  # for the bars' transition
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        browser.quit()
    pathlib.Path(picture).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    save_picture(*sys.argv[1:])

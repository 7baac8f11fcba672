"""The page that ``examples/draw_digit.py`` writes, in a real browser.

``python tests/test_draw_digit.py PAGE PICTURE`` draws a digit in a page and saves a screenshot.
"""

import base64
import pathlib
import re
import runpy
import shutil
import sys
import time

import numpy as np
import pytest

from mlp_mx import checkpoint, model, predict
from mlp_mx.predict import images
from mlp_mx.runtime import nd

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
Pointer = pytest.importorskip("selenium.webdriver.common.actions.pointer_input").PointerInput

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "draw_digit.py"
NOTHING = ["?", [""] * 10]
# In hundredths of the sheet's side.
ONE = [[(50, 15), (50, 85)]]
THREE = [[(32, 29), (43, 18), (61, 20), (68, 32), (59, 45), (46, 48), (61, 50), (71, 62), (66, 79),
          (50, 86), (34, 80)]]
FOUR = [[(39, 18), (32, 54), (68, 54)], [(59, 21), (57, 88)]]


def start_browser():
    """Start Chromium, or skip the test where there is none."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for switch in ("headless=new", "no-sandbox", "hide-scrollbars", "window-size=1280,800"):
        options.add_argument(f"--{switch}")
    return webdriver.Chrome(options, webdriver.ChromeService(programs[1]))


def set_screen(browser, width, scale):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 790, "deviceScaleFactor": scale, "mobile": width < 500})


def wait_for_frame(browser):
    """Wait until what was asked for before has been shown."""
    browser.execute_async_script(
        "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def draw(browser, strokes, kind="mouse"):
    """Draw with the browser's own pointer events; return once the page has shown the drawing."""
    sheet = browser.find_element("id", "sheet")
    actions = webdriver.ActionChains(browser, duration=15, devices=[Pointer(kind, kind)])
    for stroke in strokes:
        # From the middle of the sheet, in pixels.
        start, *others = (np.array(stroke) - 50) * sheet.size["width"] // 100
        actions.move_to_element_with_offset(sheet, *start).click_and_hold()
        for place in others:
            actions.move_to_element_with_offset(sheet, *place)
        actions.release()
    actions.perform()
    wait_for_frame(browser)


def shown(browser):
    """What the page shows: the digit, and the ten percentages."""
    return browser.execute_script(
        "return [document.getElementById('digit').textContent,"
        " [...document.querySelectorAll('.value')].map((value) => value.textContent)]")


def drawing(browser):
    """The ink of the drawing, 0 to 255."""
    return np.array(browser.execute_script("return mlp_mx.drawing()"), np.uint8).reshape(280, 280)


def seen(browser):
    """What the page's network sees of the drawing, 0 to 255."""
    return np.array(browser.execute_script("return mlp_mx.input()")).reshape(28, 28)


def as_predict_sees(browser):
    """What `predict` makes of a picture of the drawing, with paper around it."""
    return images.to_mnist(np.pad(255 - drawing(browser), 60, constant_values=255))


def logits(browser, X):
    return np.array(browser.execute_script(
        "return arguments[0].map((pixels) => mlp_mx.logits(pixels))", X.reshape(-1, 784).tolist()))


def write_page(params, folder):
    """Write a network's page, and return its address."""
    files = [str(folder / name) for name in ("model.npz", "page.html")]
    checkpoint.save(files[0], params)
    assert runpy.run_path(str(EXAMPLE))["main"]([files[0], "--no-open", "--out", files[1]]) == 0
    return pathlib.Path(files[1]).as_uri()


@pytest.fixture(scope="module")
def chromium():
    browser = start_browser()
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address(trained, tmp_path_factory):
    return write_page(trained, tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(chromium, address):
    """The page of a briefly trained network of the chapter's size, just opened."""
    chromium.get(address)
    return chromium


def test_logits_are_those_of_net(page, trained, mnist_loaders):
    X = mnist_loaders[1].data[:200]
    expected, found = model.net(X, trained).asnumpy(), logits(page, X.asnumpy())
    assert np.abs(expected).max() > 3  # or else 1e-3 would be no small error
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("strokes, kind", [
    (THREE, "mouse"), (FOUR, "touch"),
    ([[(50, 42), (50, 57)]], "mouse"),  # thick for its height: made thinner
    ([[(3, 3), (99, 3), (50, 99)]], "mouse"),  # along the edges
], ids=["3", "4", "thick", "edges"])
def test_drawing_is_seen_and_read_as_predict_does(page, trained, strokes, kind):
    assert shown(page) == NOTHING
    draw(page, strokes, kind)
    np.testing.assert_allclose(seen(page), as_predict_sees(page), rtol=0, atol=1)  # of 255
    expected = predict.probabilities(seen(page)[None] / 255, trained)[0]
    prediction, percentages = shown(page)
    assert prediction == str(expected.argmax())
    np.testing.assert_allclose(np.array(percentages, float), 100 * expected, atol=0.6)


def test_what_predict_refuses_gets_no_digit_and_all_that_clears_clears(page):
    for strokes, complaint, clear in (
        ([[(50, 50), (51, 50)]], "No clear strokes", page.find_element("id", "clear").click),
        ([[(10, 50), (90, 50)]], "Wider than a digit",
         webdriver.ActionChains(page).send_keys(Keys.ESCAPE).perform),
        (ONE, None, webdriver.ActionChains(page).send_keys(Keys.DELETE).perform),
    ):
        draw(page, strokes)
        if complaint:
            with pytest.raises(images.ImageError):
                as_predict_sees(page)
            assert page.find_element("id", "first").text == complaint
        assert (shown(page) == NOTHING) == bool(complaint) and drawing(page).any()
        clear()
        wait_for_frame(page)
        assert shown(page) == NOTHING and not drawing(page).any()


def test_keyboard_draws_and_screen_readers_hear_the_prediction(page):
    sheet = page.find_element("id", "sheet")
    assert sheet.accessible_name == "Drawing area"
    sheet.send_keys(Keys.ARROW_RIGHT, " ", *[Keys.ARROW_DOWN] * 20, " ", *[Keys.ARROW_LEFT] * 9)
    wait_for_frame(page)
    ys, xs = np.nonzero(drawing(page) > 127)
    assert np.ptp(ys) > 140 > 30 > np.ptp(xs)
    time.sleep(0.8)  # it is said once the pen rests
    assert re.fullmatch(rf"{shown(page)[0]}, .*%\. Next: \d, .*%",
                        page.find_element("id", "live").get_property("textContent"))


def test_page_fits_the_screen_reads_a_three_and_asks_for_nothing(page):
    try:
        for width in (390, 1280):
            set_screen(page, width, scale=2)
            page.refresh()
            draw(page, THREE)
            assert shown(page)[0] == "3"
            wide, pixels, side = page.execute_script(
                "let sheet = document.getElementById('sheet');"
                "return [document.documentElement.scrollWidth, sheet.width, sheet.clientWidth]")
            assert wide == width and abs(pixels - 2 * side) <= 1
            # A finger draws, even where it could scroll the page.
            sheet = page.find_element("id", "sheet")
            assert sheet.value_of_css_property("touch-action") == "none"
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert page.execute_script("return performance.getEntriesByType('resource')") == []
    assert page.get_log("browser") == []
    refused = page.execute_async_script(
        "fetch('http://127.0.0.1:9/').catch(() => 0);"
        "document.addEventListener('securitypolicyviolation',"
        "                          (event) => arguments[0](event.effectiveDirective))")
    assert refused == "connect-src"  # the page's own policy, whatever a script tries


@pytest.mark.parametrize("sizes", [(784, 10), (784, 30, 20, 40, 10)])
def test_any_chain_of_layers_is_shown(chromium, tmp_path, sizes):
    random = np.random.RandomState(0)
    params = [nd.array(random.normal(0, 0.1, shape)) for inputs, outputs in zip(sizes, sizes[1:])
              for shape in ((inputs, outputs), (outputs,))]
    chromium.get(write_page(params, tmp_path))
    draw(chromium, ONE)
    h, captions = seen(chromium).reshape(1, 784) / 255, ["Input"]
    for k, (W, b) in enumerate(zip(params[::2], params[1::2])):
        if k:
            h = np.maximum(h, 0)
            captions += [f"h{k}", f"{(h > 0).sum()} of {h.size} active"]
        h = h @ W.asnumpy() + b.asnumpy()
    np.testing.assert_allclose(logits(chromium, seen(chromium) / 255), h, rtol=0, atol=1e-3)
    found = chromium.find_elements("css selector", "figcaption b, figcaption span")
    assert [element.text for element in found] == captions


def save_picture(page, picture):
    """Draw a digit in a page, and save a screenshot."""
    browser = start_browser()
    set_screen(browser, 1280, scale=1)
    browser.get(pathlib.Path(page).resolve().as_uri())
    draw(browser, THREE)
    time.sleep(0.3)  # for the bars' transition
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    browser.quit()
    pathlib.Path(picture).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    save_picture(*sys.argv[1:])

"""The example of a picture's way to the network, run from another folder than its own."""

import pathlib
import re

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "own_digit.py"


def test_own_digit_predicts_and_draws(python, mnist_dir, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    environment = {"MLP_MX_DATA": str(mnist_dir), "MPLBACKEND": "agg",
                   "PYTHONPATH": str(EXAMPLE.parents[1])}
    result = python(EXAMPLE, "--epochs", "1", **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^model prediction is: 3$", result.stdout, re.MULTILINE)
    width, height = Image.open(tmp_path / "own_digit.png").size
    assert width > 3 * height  # four steps

"""The exercises: their answers run, and print what the notebook says.

Training for all answers takes minutes, so by default most of them run on a few images, and only
three are compared with the numbers in the notebook. MLP_MX_EXERCISES=all compares them all.
"""

import base64
import io
import json
import os
import pathlib
import re
import types

import numpy as np
import pytest
from PIL import Image

from mlp_mx.data import ArrayLoader

NOTEBOOK = pathlib.Path(__file__).parents[1] / "examples" / "exercises.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
SETUP = next("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code")
QUESTIONS = range(1, 10)
COMPARED = "." if os.environ.get("MLP_MX_EXERCISES") == "all" else "[789]"


def answers():
    """Each exercise's title, the code of its answer, and what that is said to print."""
    title, cell_before = "the chapter's network", ""
    for cell in CELLS:
        text = "".join(cell["source"])
        heading = re.match(r"## (.*)", text)
        title = heading[1] if heading else title
        code, printed = (re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
                         for language in ("python", "text"))
        if printed:
            yield pytest.param(code[1] if code else cell_before, printed[1], id=title)
        cell_before = text


@pytest.fixture(scope="module")
def namespace(mnist_dir, fit_and_evaluate_last):
    """What the notebook's first cell defines, on MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_MX_DATA", str(mnist_dir))
        names = {}
        exec(SETUP, names)
    assert names["train_data"].name == "MNIST"
    return {**names, "train": types.SimpleNamespace(fit=fit_and_evaluate_last)}


def test_every_exercise_has_a_cell_and_an_answer():
    titles = [param.id for param in answers()]
    assert [title.split(".")[0] for title in titles[1:]] == [str(n) for n in QUESTIONS]
    kinds = "".join(cell["cell_type"][0] for cell in CELLS)
    assert kinds.endswith("mcm" * len(QUESTIONS))  # a question, a cell to change, an answer
    for cell in CELLS:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")


def output(text, png="", alt="curves"):
    """A cell that printed a text and showed a picture."""
    html = f'<img alt="{alt}" src="data:image/png;base64,{png}">' if png else ""
    return {"outputs": [{"text": text}, {"data": {"text/html": html}}]}


@pytest.mark.parametrize("change, is_like", [
    ({}, True), ({"text": "Loss: 1.2502, 5 epochs"}, True),
    ({"text": "Loss: 1.2901, 5 epochs"}, False),
    ({"text": "loss: 1.2501, 5 epochs"}, False), ({"text": "Loss: 1.2501, 6 epochs"}, False),
    ({"alt": "bars"}, False), ({"png": ""}, False), ({"png": 200}, False), ({"png": 33}, True),
])
def test_stored_outputs_are_compared_up_to_rounding(monkeypatch, change, is_like):
    def picture(level):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 60), level, np.uint8)).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    pytest.importorskip("nbclient", reason="no nbclient: pip install notebook")
    monkeypatch.syspath_prepend(str(NOTEBOOK.parents[1] / "docs"))
    import notebooks

    stored = {"text": "Loss: 1.2501, 5 epochs", "png": 30, "alt": "curves"}
    cells = [output(text, png and picture(png), alt)
             for text, png, alt in (stored.values(), {**stored, **change}.values())]
    assert notebooks.is_like(*cells) == is_like


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the loss of the first batch did not fall")  # their subject
@pytest.mark.parametrize("code, said", [*answers()])
def test_answers_print_what_the_notebook_says(namespace, capsys, request, code, said):
    is_compared = re.search(rf"\[({COMPARED})", request.node.name)
    names = dict(namespace)
    if not is_compared:
        for name in "train_data", "test_data":
            whole = namespace[name]
            names[name] = ArrayLoader(whole.data[:640], whole.label[:640], seed=0)
    # The notebook's functions once more, with the `fit` and the images of `names`.
    exec(SETUP[SETUP.index("def run"):] + "\n" + code, names)
    number = r"\d+\.\d+"
    printed = capsys.readouterr().out
    assert re.sub(number, "", printed) == re.sub(number, "", said)
    found, expected = (np.array(re.findall(number, text), float) for text in (printed, said))
    if is_compared and len(expected):  # threes: a loss, and two accuracies
        np.testing.assert_allclose(found[::3], expected[::3], rtol=0.1, atol=0.01)
        np.testing.assert_allclose(np.delete(found, np.s_[::3]), np.delete(expected, np.s_[::3]),
                                   rtol=0, atol=0.015)

"""The exercises: what their answers say is printed is what their answers print."""

import json
import pathlib
import re

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / "examples" / "exercises.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
SETUP = next("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code")
QUESTIONS = range(1, 9)


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
def namespace(mnist_dir):
    """What the notebook's first cell defines, on MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_MX_DATA", str(mnist_dir))
        names = {}
        exec(SETUP, names)
    assert names["train_data"].name == "MNIST"
    return names


def results(printed):
    """(loss, training accuracy, test accuracy) of each line."""
    line = r"loss (\S+), training accuracy (\S+), test accuracy (\S+)"
    return [tuple(map(float, found)) for found in re.findall(line, printed)]


def test_every_exercise_has_a_cell_and_an_answer():
    titles = [param.id for param in answers()]
    assert [title.split(".")[0] for title in titles[1:]] == [str(n) for n in QUESTIONS]
    kinds = "".join(cell["cell_type"][0] for cell in CELLS)
    assert kinds.endswith("mcm" * len(QUESTIONS))  # a question, a cell to change, an answer
    for cell in CELLS:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("code, claimed", answers())
def test_answers_print_what_they_claim(namespace, capsys, code, claimed):
    exec(code, dict(namespace))
    found, claimed = results(capsys.readouterr().out), results(claimed)
    assert len(found) == len(claimed) > 0
    for (loss, *accuracies), (claimed_loss, *claimed_accuracies) in zip(found, claimed):
        assert loss == pytest.approx(claimed_loss, rel=0.1, abs=0.01)
        assert accuracies == pytest.approx(claimed_accuracies, abs=0.015)

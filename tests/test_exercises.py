"""The exercises: their answers run, and print what the notebook says.

Training for all answers takes minutes, so by default most of them run on a few images, and only
two are compared with what the notebook says. MLP_MX_EXERCISES=all compares them all.
"""

import json
import os
import pathlib
import re
import types

import pytest

from mlp_mx import train
from mlp_mx.data import ArrayLoader

NOTEBOOK = pathlib.Path(__file__).parents[1] / "examples" / "exercises.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
SETUP = next("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code")
QUESTIONS = range(1, 9)
COMPARED = "." if os.environ.get("MLP_MX_EXERCISES") == "all" else "[78]"


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


def fit(params, train_data, test_data, epochs, learning_rate=0.001, **options):
    """`mlp_mx.train.fit`, but evaluating only after the last epoch, which the exercises print."""
    for epoch in range(epochs):
        loss = train.train_epoch(params, train_data, learning_rate, epoch, **options)
    net = {"net": options["net"]} if "net" in options else {}
    accuracies = [train.evaluate_accuracy(each, params, **net) for each in (train_data, test_data)]
    yield train.Epoch(epoch, loss, *accuracies, 0)


@pytest.fixture(scope="module")
def namespace(mnist_dir):
    """What the notebook's first cell defines, on MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_MX_DATA", str(mnist_dir))
        names = {}
        exec(SETUP, names)
    assert names["train_data"].name == "MNIST"
    return {**names, "train": types.SimpleNamespace(fit=fit)}


def test_every_exercise_has_a_cell_and_an_answer():
    titles = [param.id for param in answers()]
    assert [title.split(".")[0] for title in titles[1:]] == [str(n) for n in QUESTIONS]
    kinds = "".join(cell["cell_type"][0] for cell in CELLS)
    assert kinds.endswith("mcm" * len(QUESTIONS))  # a question, a cell to change, an answer
    for cell in CELLS:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("code, said", [*answers()])
def test_answers_print_what_the_notebook_says(namespace, capsys, request, code, said):
    is_compared = re.search(rf"\[({COMPARED})", request.node.name)
    names = dict(namespace)
    if not is_compared:
        whole = names["train_data"]
        names["train_data"] = ArrayLoader(whole.data[:640], whole.label[:640], seed=0)
    # The notebook's functions once more, with the `fit` and the images of `names`.
    exec(SETUP[SETUP.index("def run"):] + "\n" + code, names)
    line = r"loss (\S+), training accuracy (\S+), test accuracy (\S+)"
    found, expected = ([tuple(map(float, numbers)) for numbers in re.findall(line, text)]
                       for text in (capsys.readouterr().out, said))
    assert len(found) == len(expected) > 0
    for (loss, *accuracies), (expected_loss, *expected_accuracies) in zip(found, expected):
        if is_compared:
            assert loss == pytest.approx(expected_loss, rel=0.1, abs=0.01)
            assert accuracies == pytest.approx(expected_accuracies, abs=0.015)
        else:
            assert 0 < loss < 3 and all(0.05 < accuracy < 0.95 for accuracy in accuracies)

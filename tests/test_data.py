"""The loaders against plain NumPy indexing, and against gluon's own loader."""

import pathlib
import re
import textwrap
import types

import numpy as np
import pytest

from mlp_mx import (
    InputError, checkpoint, data, export, fast, launch, model, plot, predict, runtime, train)
from mlp_mx.runtime import gluon, mx, nd


def loader(batch_size=32, seed=None):
    values = np.arange(100, dtype=np.float32)
    images = np.broadcast_to(values[:, None, None, None], (100, 28, 28, 1))
    return data.ArrayLoader(nd.array(images), nd.array(values), batch_size, seed, "numbers")


def labels(batches):
    return np.concatenate([label.asnumpy() for _, label in batches]).astype(int).tolist()


@pytest.mark.parametrize("batch_size", [1, 32, 100, 1000])
def test_array_loader_yields_every_example_once_per_epoch(batch_size):
    batches = list(loader(batch_size, seed=5))
    assert len(batches) == len(loader(batch_size)) == -(-100 // batch_size)
    assert {len(label) for _, label in batches[:-1]} <= {batch_size}
    assert sorted(labels(batches)) == list(range(100))
    for X, label in batches:  # each image with its own label
        assert X.shape == (len(label), 28, 28, 1)
        assert (X.asnumpy() == label.asnumpy()[:, None, None, None]).all()


def test_array_loader_order_depends_on_seed_and_epoch_alone():
    first, straight_to_2 = loader(seed=5), loader(seed=5)
    orders = []
    for epoch in (0, 1, 2):
        first.set_epoch(epoch)
        orders.append(labels(first))
        assert labels(first) == orders[-1]  # a second pass changes nothing
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert labels(loader(seed=6)) != orders[0]
    assert labels(loader()) == list(range(100))
    np.random.seed(1)
    straight_to_2.set_epoch(2)
    assert labels(straight_to_2) == orders[2]


def test_load_yields_what_gluons_own_loader_yields(mnist_dir, mnist_loaders):
    train_data, test_data = mnist_loaders
    for loader_, is_train, num_examples in (train_data, True, 60000), (test_data, False, 10000):
        assert (loader_.name, loader_.num_examples) == ("MNIST", num_examples)
        mnist = gluon.data.vision.MNIST(str(mnist_dir), is_train)
        first = mnist.take(200).transform(data.transform)
        for (X, label), (expected_X, expected_label) in zip(
                loader_.in_order(64), gluon.data.DataLoader(first, 64, last_batch="discard")):
            assert X.dtype == label.dtype == np.float32 and X.shape == (64, 28, 28, 1)
            assert X.max() == 1  # and not 255
            assert (X == expected_X).asnumpy().all()
            assert (label == expected_label).asnumpy().all()
        assert (loader_.label.asnumpy() == mnist[:][1]).all()
    assert labels(test_data) == test_data.label.asnumpy().tolist()  # not shuffled
    assert labels(train_data) != train_data.label.asnumpy().tolist()


@pytest.mark.parametrize("options, complaint", [
    ({"batch_size": 0}, "expected a batch size of 1 or more"),
    ({"batch_size": 2.5}, "expected a batch size of 1 or more"),
    ({"seed": -1}, "expected a seed from 0 to 4294967295, or None, found -1"),
    ({"dataset": "cifar"}, "expected the data set auto, mnist, glyphs or idx, .*'cifar'"),
])
def test_load_refuses_what_it_does_not_know(options, complaint):
    with pytest.raises(InputError, match=complaint):
        data.load(**options)


RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.randint(0, 256, (50, 8, 8)).astype(np.uint8)
CLASSES = np.arange(50) % 7


@pytest.mark.parametrize("shape", [(50, 64), (50, 8, 8), (50, 8, 8, 1), (50, 2, 4, 2, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("array", [
    np.array, lambda values: nd.array(values, dtype=values.dtype),
    lambda values: mx.np.array(values, dtype=values.dtype)])
def test_array_loader_takes_ones_own_arrays(array, dtype, shape):
    values = PIXELS.reshape(shape).astype(dtype)
    loader_ = data.ArrayLoader(array(values), array(CLASSES.astype(dtype)), 32)
    assert (loader_.num_outputs, loader_.num_examples, loader_.classes) == (7, 50, None)
    assert repr(loader_) == (
        f"ArrayLoader('arrays': 50 examples of shape {shape[1:]}, batch size 32)")
    X, label = zip(*loader_)
    assert {type(batch) for batch in X + label} == {nd.NDArray}
    assert {batch.dtype for batch in X + label} == {np.float32}
    assert [batch.shape for batch in X] == [(32, *shape[1:]), (18, *shape[1:])]
    expected = PIXELS.reshape(shape) / np.float32(255 if dtype == "uint8" else 1)
    np.testing.assert_array_equal(np.concatenate([batch.asnumpy() for batch in X]), expected)
    assert labels(zip(X, label)) == CLASSES.tolist()


@pytest.mark.filterwarnings("error")  # from gluon's destructor, for example
@pytest.mark.parametrize("X, label, complaint", [
    (PIXELS, CLASSES[1:], "a label for each example, found 50 examples and 49 labels"),
    (PIXELS[:0], CLASSES[:0], "at least one example, found data of shape .0, 8, 8."),
    (PIXELS, CLASSES[:, None], r"shape \(50,\), found \(50, 1\); use label.reshape\(-1\)"),
    (PIXELS, nd.one_hot(nd.array(CLASSES), 7), "one-hot, use label.argmax.axis=1."),
    (CLASSES, PIXELS, "swap data and labels"),
    (PIXELS, CLASSES - 1, "labels: expected whole numbers from 0, found -1"),
    (PIXELS, CLASSES / 2, "labels: expected whole numbers from 0, found 0.5"),
    (PIXELS, np.where(CLASSES == 3, np.nan, 0), "labels: expected whole numbers from 0, found nan"),
    (np.where(PIXELS == PIXELS[9, 0, 0], np.inf, 0), CLASSES, "finite numbers, found inf in"),
    (nd.array(PIXELS) / 0, CLASSES, "finite numbers, found (inf|nan) in example 0"),
    (PIXELS * 1e300, CLASSES, "finite numbers, found inf in example 0"),
    (PIXELS.astype(str), CLASSES, "data: expected numbers, found dtype <U3; convert"),
    (PIXELS, CLASSES.astype(str), "labels: expected numbers, found dtype <U21; .*numpy.unique"),
    (PIXELS.astype(object), CLASSES, "data: expected numbers, found dtype object"),
    ([[1, 2], [3]], CLASSES, "data: expected"),
    ("MNIST", CLASSES, "data: expected an array, found str"),
])
def test_array_loader_refuses_other_arrays_in_one_line(X, label, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        data.ArrayLoader(X, label)
    assert "\n" not in str(caught.value)


def test_array_loader_knows_the_names_of_classes():
    loader_ = data.ArrayLoader(PIXELS, CLASSES, classes=tuple("abcdefghi"))
    assert loader_.num_outputs == 9 and loader_.classes == list("abcdefghi")
    with pytest.raises(InputError, match="at least 7 names of classes, .*found 2"):
        data.ArrayLoader(PIXELS, CLASSES, classes="ab")


def test_loaders_yield_ndarrays_under_set_np(few_glyphs):
    expected = [batch.asnumpy() for batch in next(iter(data.load("glyphs")[0]))]
    mx.npx.set_np()
    try:
        train_data, _ = data.load("glyphs")
        own = data.ArrayLoader(mx.np.array(PIXELS), mx.np.array(CLASSES))
        for loader_ in train_data, own:
            batches = [*next(iter(loader_)), *next(loader_.in_order(5))]
            assert {type(batch) for batch in batches} == {nd.NDArray}
        found = [batch.asnumpy() for batch in next(iter(train_data))]
    finally:
        mx.npx.reset_np()
    assert all((one == other).all() for one, other in zip(found, expected))


def test_array_loader_is_public_and_does_not_load_mxnet_before_it_is_used(python):
    code = ("import sys; from mlp_mx import data; assert 'ArrayLoader' in dir(data); "
            "assert 'mxnet' not in sys.modules; data.ArrayLoader; assert 'mxnet' in sys.modules")
    assert python("-c", code).stderr == ""


def test_readme_trains_on_ones_own_arrays(capsys):
    readme = (pathlib.Path(__file__).parents[1] / "README.rst").read_text()
    block = r"code-block:: python\n\n( +from mlp_mx [^\n]*\n\n +train_data = data.ArrayLo.*?\n)\n\S"
    code = textwrap.dedent(re.search(block, readme, re.S)[1])
    random = np.random.RandomState(0)
    label, test_label = random.randint(0, 10, 2000), random.randint(0, 10, 300)
    X, test_X = (random.randint(0, 100, (len(one), 8, 8)).astype(np.uint8)
                 for one in (label, test_label))
    for images, one in (X, label), (test_X, test_label):
        images[np.arange(len(one)), one % 8, one // 8] = 255  # a bright pixel tells the label
    exec(code, {"X": X, "label": label, "test_X": test_X, "test_label": test_label})
    accuracies = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(accuracies) == 10 and accuracies[-1] > 0.9


@pytest.mark.parametrize("module", [
    checkpoint, data, export, fast, launch, model, plot, predict, runtime, train])
def test_tab_completion_shows_public_names_only(module):
    assert set(module.__all__) <= set(dir(module))
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            assert name in ("autograd", "gluon", "mnist", "mx", "nd")
        else:
            assert getattr(value, "__module__", module.__name__).startswith(module.__name__)

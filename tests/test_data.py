"""The loaders against plain NumPy indexing, and against gluon's own loader."""

import numpy as np
import pytest

from mlp_mx import InputError, data
from mlp_mx.runtime import gluon, nd


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


def test_load_yields_what_gluons_own_loader_yields(mnist_dir):
    train_data, test_data = data.load("auto", mnist_dir)
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
    ({"dataset": "cifar"}, "expected the data set auto, mnist or glyphs, .*'cifar'"),
])
def test_load_refuses_what_it_does_not_know(options, complaint):
    with pytest.raises(InputError, match=complaint):
        data.load(**options)

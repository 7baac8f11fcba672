"""A worker's part of the data, and its update; `test_launch` has jobs of several processes."""

import types

import numpy as np
import pytest

import small_run
from mlp_mx import InputError, data, fast, model, train
from mlp_mx.train.distributed import Part, Workers
from mlp_mx.runtime import mx, nd


def loader(num_examples, batch_size, seed=0):
    images, labels = small_run.SPLITS[0]
    return data.ArrayLoader(images[:num_examples], labels[:num_examples], batch_size, seed)


@pytest.mark.parametrize("num_examples, batch_size, num_workers", [
    (640, 64, 2), (521, 66, 3), (9, 3, 3),
])
def test_parts_are_all_of_every_batch_and_of_all_examples(num_examples, batch_size, num_workers):
    whole = loader(num_examples, batch_size)
    parts = [Part(loader(num_examples, batch_size),
                  types.SimpleNamespace(rank=rank, num_workers=num_workers))
             for rank in range(num_workers)]
    for each in (whole, *parts):
        each.set_epoch(3)
    for (X, label), *of_workers in zip(whole, *parts):
        assert max(len(label) for _, label in of_workers) <= -(-len(label) // num_workers)
        for array, several in (X, zip(*of_workers)), :
            joined = [nd.concat(*arrays, dim=0) for arrays in several]
            assert (joined[0] == X).asnumpy().all() and (joined[1] == label).asnumpy().all()
    assert sum(part.num_trained for part in parts) == num_examples
    in_order = [array for part in parts for _, array in part.in_order(50)]
    assert (nd.concat(*in_order, dim=0) == whole.label).asnumpy().all()
    assert [sum(len(label) for _, label in part.in_order(50)) for part in parts] == [
        part.num_examples for part in parts]


def test_a_batch_with_fewer_examples_than_workers_is_refused():
    with pytest.raises(InputError, match="each of 3 workers in every batch, found a batch of 1;"):
        Part(loader(129, 64), types.SimpleNamespace(rank=0, num_workers=3))


@pytest.mark.parametrize("update", [train.SGD, lambda params, lr: train.SGD(list(params), lr)],
                         ids=["elementwise", "other"])
def test_a_worker_alone_trains_as_no_worker_does(update):
    results = []
    for workers in None, Workers(mx.cpu(), mx.kv.create("local")), Workers(mx.cpu()):
        params, loaders = model.init_params(num_hidden=37, seed=2), [loader(521, 66)] * 2
        parts = [workers.part(one) for one in loaders] if workers else loaders
        synchronised = workers.synchronised(update) if workers else update
        assert fast.is_elementwise(synchronised) == (update is train.SGD)
        epochs = train.fit(params, *parts, 2, 0.005, update=synchronised)
        records = list(workers.combined(epochs, *parts) if workers else epochs)
        results.append(([record[2:4] for record in records], [record.loss for record in records],
                        np.concatenate([param.asnumpy().ravel() for param in params])))
    for accuracies, losses, params in results[1:]:
        np.testing.assert_allclose(accuracies, results[0][0])
        np.testing.assert_allclose(losses, results[0][1], rtol=1e-5)
        np.testing.assert_array_equal(params, results[0][2])


def test_totals_are_exact():
    counts = [0, 1, 4095, 4096, 2**24]
    assert Workers(mx.cpu(), mx.kv.create("local")).total(*counts) == counts

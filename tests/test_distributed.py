"""Several devices against one, in one process; `test_launch` has several processes."""

import functools

import numpy as np
import pytest

import small_run
from mlp_mx import InputError, fast, model, train
from mlp_mx.train import __main__ as train_command
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.train import distributed
from mlp_mx.runtime import autograd, mx, nd


def fit(num_examples, batch_size, workers=None, **options):
    """Two epochs on random images; the records without their times, and all parameters."""
    random = np.random.RandomState(1)
    X = nd.array(random.uniform(0, 1, (num_examples, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, num_examples))
    loaders = [ArrayLoader("random", X, label, batch_size, seed) for seed in (0, None)]
    params = model.init_params(num_hidden=37, weight_scale=0.05, seed=2)
    records = list(train.fit(params, *loaders, epochs=2, workers=workers, **options))
    flat = np.concatenate([param.asnumpy().ravel() for param in params])
    return [record[:4] for record in records], flat


def difference(params, expected):
    """The norm of the difference, over the norm."""
    return np.linalg.norm(params - expected) / np.linalg.norm(expected)


def devices(number):
    return [mx.cpu(i) for i in range(number)]


@pytest.mark.parametrize("contexts, num_examples, batch_size, tolerance", [
    (devices(2), 640, 64, 1e-5),  # 20 steps in the two epochs
    (devices(3), 521, 66, 1e-5),  # the last batch has 59 examples
    (devices(3), 9, 2, 1e-5),  # fewer in a batch than there are devices
    pytest.param([mx.gpu(0), mx.gpu(1)], 521, 66, 1e-3, marks=pytest.mark.gpu("gpu:0,gpu:1")),
])
def test_several_devices_compute_what_one_does(contexts, num_examples, batch_size, tolerance):
    expected_records, expected = fit(num_examples, batch_size)
    workers = distributed.Workers(contexts, "device")
    records, params = fit(num_examples, batch_size, workers)
    np.testing.assert_allclose(records, expected_records, rtol=tolerance)
    assert difference(params, expected) <= tolerance


def test_devices_get_parts_of_a_batch_that_differ_by_one_example():
    sizes = []

    def loss(X, params):
        sizes.append(len(X))
        return nd.sum(X * params[0])

    workers = distributed.Workers(devices(6), "device")
    for num_examples in 33, 64:
        replica = workers.replica(loss, [nd.ones(1)], train.SGD)
        X = nd.random.uniform(shape=(num_examples, 1))
        with autograd.record():
            result = replica(X)
        assert result.asscalar() == pytest.approx(X.sum().asscalar())
    assert set(sizes) == {5, 6, 10, 11}


def halve(params, lr):
    for param in params:
        param[:] = param - lr * param.grad / 2


def test_an_elementwise_update_is_called_with_the_arrays_of_all_devices():
    workers = distributed.Workers(devices(2), "device")
    params = fit(128, 64, workers, update=fast.elementwise(functools.partial(halve)))[1]
    assert difference(params, fit(128, 64, learning_rate=0.0005)[1]) <= 1e-5


def test_another_update_is_refused_on_several_devices_of_a_process():
    with pytest.raises(InputError, match="mark yours with fast.elementwise"):
        fit(128, 64, distributed.Workers(devices(2), "device"), update=halve)


def test_totals_are_exact():
    workers = distributed.Workers(devices(2), "device")
    counts = [0, 1, 4095, 4096, 2**24]
    assert workers.total(*counts) == counts


def test_divergence_is_found_in_the_batch_where_it_is():
    with pytest.raises(train.DivergenceError) as single:
        fit(512, 64, learning_rate=1e6)
    with pytest.raises(train.DivergenceError) as several:
        fit(512, 64, distributed.Workers(devices(3), "device"), learning_rate=1e6)
    assert str(single.value) == str(several.value)


@pytest.mark.slow
def test_two_contexts_with_openmp_threads_do_not_hang(python):
    # OpenBLAS has threads for arrays of more than 2**18 numbers; these are 269 322.
    arguments = ["--epochs", 10, "--ctx", "cpu:0,cpu:1", "--num-hidden", 256]
    result = python(small_run.__file__, *arguments, OMP_NUM_THREADS="2")
    assert result.returncode == 0 and "Epoch 9" in result.stdout


@pytest.mark.slow
def test_an_epoch_of_mnist_on_two_contexts_is_as_good_as_on_one(mnist_dir, capsys):
    accuracies = []
    for contexts in "cpu", "cpu:1,cpu:0":
        arguments = ["--epochs", "1", "--dataset", "mnist", "--ctx", contexts]
        assert train_command.main(arguments) == 0
        printed = capsys.readouterr().out
        accuracies.append(float(printed.split("Test_acc ")[1].split()[0]))
    assert "on cpu(1), cpu(0)" in printed
    assert accuracies == pytest.approx(accuracies[:1] * 2, abs=0.002)

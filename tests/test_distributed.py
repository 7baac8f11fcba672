"""Several devices against one, in one process; `test_launch` has several processes."""

import numpy as np
import pytest

import small_run
from mlp_mx import InputError, fast, model, train
from mlp_mx.train import __main__ as train_command
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.train.distributed import Workers
from mlp_mx.runtime import mx, nd


def fit(num_examples, batch_size, contexts=None, **options):
    """Two epochs on random images; the records without their times, and all parameters."""
    random = np.random.RandomState(1)
    X = nd.array(random.uniform(0, 1, (num_examples, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, num_examples))
    loaders = [ArrayLoader("random", X, label, batch_size, seed) for seed in (0, None)]
    params = model.init_params(num_hidden=37, weight_scale=0.05, seed=2)
    workers = contexts and Workers(contexts, "device")
    records = list(train.fit(params, *loaders, epochs=2, workers=workers, **options))
    flat = np.concatenate([param.asnumpy().ravel() for param in params])
    return [record[:4] for record in records], flat


def difference(params, expected):
    """The norm of the difference, over the norm."""
    return np.linalg.norm(params - expected) / np.linalg.norm(expected)


def devices(number):
    return [mx.cpu(i) for i in range(number)]


@pytest.mark.parametrize("contexts, num_examples, batch_size, tolerance, parts", [
    (devices(2), 640, 64, 1e-5, {32}),  # 20 steps in the two epochs
    (devices(3), 521, 66, 1e-5, {22, 19, 20}),  # the last batch has 59 examples
    (devices(3), 9, 2, 1e-5, {1}),  # fewer in a batch than there are devices
    pytest.param([mx.gpu(0), mx.gpu(1)], 521, 66, 1e-3, {33, 29, 30},
                 marks=pytest.mark.gpu("gpu:0,gpu:1")),
])
def test_several_devices_compute_in_parts_what_one_does(
        contexts, num_examples, batch_size, tolerance, parts):
    sizes = set()

    def loss(yhat_linear, y):
        sizes.add(len(y))
        return model.softmax_cross_entropy(yhat_linear, y)

    expected_records, expected = fit(num_examples, batch_size)
    records, params = fit(num_examples, batch_size, contexts, loss=loss)
    np.testing.assert_allclose(records, expected_records, rtol=tolerance)
    assert difference(params, expected) <= tolerance
    assert sizes == parts  # which differ by one example


def test_an_update_has_to_be_elementwise_and_is_called_with_the_arrays_of_all_devices():
    def halve(params, lr):
        for param in params:
            param[:] = param - lr * param.grad / 2

    with pytest.raises(InputError, match="mark yours with fast.elementwise"):
        fit(128, 64, devices(2), update=halve)
    _, params = fit(128, 64, devices(2), update=fast.elementwise(halve))
    assert difference(params, fit(128, 64, learning_rate=0.0005)[1]) <= 1e-5


def test_totals_are_exact():
    counts = [0, 1, 4095, 4096, 2**24]
    assert Workers(devices(2), "device").total(*counts) == counts


def test_divergence_is_found_in_the_batch_where_it_is():
    messages = set()
    for contexts in None, devices(3):
        with pytest.raises(train.DivergenceError) as error:
            fit(512, 64, contexts, learning_rate=1e6)
        messages.add(str(error.value))
    assert len(messages) == 1


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

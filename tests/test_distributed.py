"""Several devices against one, in one process; `test_launch` has several processes."""

import pathlib
import sys

import numpy as np
import pytest

from mlp_mx import InputError, checkpoint, model, train
from mlp_mx.train import __main__ as train_command
from mlp_mx.data.loader import ArrayLoader
from mlp_mx.train import distributed
from mlp_mx.runtime import mx, nd

CPU = pathlib.Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
SMALL_RUN = pathlib.Path(__file__).with_name("small_run.py")


def fit(num_examples, batch_size, workers=None, **options):
    """Two epochs on random images; the records without their times, and the parameters."""
    random = np.random.RandomState(1)
    X = nd.array(random.uniform(0, 1, (num_examples, 28, 28, 1)))
    label = nd.array(random.randint(0, 10, num_examples))
    loaders = [ArrayLoader("random", X, label, batch_size, seed) for seed in (0, None)]
    params = model.init_params(num_hidden=37, weight_scale=0.05, seed=2)
    records = list(train.fit(params, *loaders, epochs=2, workers=workers, **options))
    return [record[:4] for record in records], [param.asnumpy() for param in params]


def devices(number):
    return [mx.cpu(i) for i in range(number)]


@pytest.mark.parametrize("num_devices", [1, 2, 3])
@pytest.mark.parametrize("num_examples, batch_size", [
    (512, 64),
    (521, 66),  # the last batch has 59 examples
    (10, 4), (9, 2),  # fewer in a batch than there are devices
    (521, 260),  # gradients are exchanged, and their factors of the last batch, of one example
])
def test_several_devices_compute_what_one_does(num_devices, num_examples, batch_size):
    expected_records, expected = fit(num_examples, batch_size)
    workers = distributed.Workers("device", devices(num_devices))
    assert (workers.rank, workers.num_workers) == (0, 1)
    records, params = fit(num_examples, batch_size, workers)
    np.testing.assert_allclose(records, expected_records, rtol=1e-5)
    for param, value in zip(params, expected):
        assert abs(param - value).max() <= 1e-5 * abs(value).max()


@pytest.mark.skipif("avx2" not in CPU, reason="oneDNN may round in other ways without AVX2")
def test_an_epoch_of_mnist_is_that_of_one_device_to_the_bit(mnist_dir, python, tmp_path):
    path = tmp_path / "model.npz"
    train = ["-m", "mlp_mx.train", "--epochs", 1, "--dataset", "mnist", "--save", path]

    def end(*arguments):
        result = python(*arguments, OMP_NUM_THREADS="1")  # more than one round in another way
        assert (result.returncode, result.stderr) == (0, "")
        loss, = [line for line in result.stdout.splitlines() if line.startswith("Epoch 0.")]
        return loss, [param.asnumpy().tolist() for param in checkpoint.load(path)[0]]

    single = end(*train)
    for contexts in "cpu:0,cpu:1", "cpu:0,cpu:1,cpu:2":
        assert end(*train, "--ctx", contexts) == single
    job = ["-m", "mlp_mx.launch", "-n", 2, "-s", 1, "--", sys.executable]
    assert end(*job, *train, "--kvstore", "dist_sync") == single


@pytest.mark.gpu("gpu:0,gpu:1")
def test_two_gpus_compute_what_one_cpu_does():
    expected_records, expected = fit(521, 66)
    records, params = fit(521, 66, distributed.Workers("device", [mx.gpu(0), mx.gpu(1)]))
    np.testing.assert_allclose(records, expected_records, rtol=1e-3)
    for param, value in zip(params, expected):
        assert abs(param - value).max() <= 1e-3 * abs(value).max()


def test_parts_of_all_workers_make_the_batch():
    for num_workers, num_devices, num_examples in [(1, 1, 64), (3, 2, 64), (4, 1, 2), (2, 3, 33)]:
        workers = distributed.Workers("device", devices(num_devices))
        workers.num_workers = num_workers
        ends = [0]
        for workers.rank in range(num_workers):
            bounds = workers.bounds(num_examples)
            assert bounds[0] == ends[-1] and len(bounds) == num_devices + 1
            ends += bounds[1:]
        sizes = np.diff(ends)
        assert ends[-1] == num_examples and 0 <= sizes.max() - sizes.min() <= 1


def test_totals_are_exact():
    workers = distributed.Workers("device", devices(2))
    counts = [0, 1, 4095, 4096, 2**24 + 1, 2**36 - 1]
    assert workers.total(*counts) == counts


def test_divergence_is_found_in_the_batch_where_it_is():
    with pytest.raises(train.DivergenceError) as single:
        fit(512, 64, learning_rate=1e6)
    with pytest.raises(train.DivergenceError) as several:
        fit(512, 64, distributed.Workers("device", devices(3)), learning_rate=1e6)
    assert str(single.value) == str(several.value)


def test_join_needs_several_devices_or_a_kvstore(monkeypatch):
    assert distributed.join(None, devices(1)) is None
    assert distributed.join(None, devices(2)).contexts == devices(2)
    assert distributed.join("device", devices(1)).num_workers == 1
    with pytest.raises(InputError, match="found only the former"):
        distributed.join("dist_sync", devices(1))
    monkeypatch.setenv("DMLC_ROLE", "worker")
    with pytest.raises(InputError, match="found only the latter"):
        distributed.join(None, devices(2))


def test_two_contexts_with_openmp_threads_do_not_hang(python):
    # OpenBLAS has threads for arrays of more than 2**18 numbers; these are 269 322.
    arguments = ["--epochs", 10, "--ctx", "cpu:0,cpu:1", "--num-hidden", 256]
    result = python(SMALL_RUN, *arguments, OMP_NUM_THREADS="2", MLP_MX_BLAS="openblas")
    assert result.returncode == 0 and "Epoch 9" in result.stdout


def test_train_command_with_two_contexts(mnist_dir, capsys, tmp_path):
    path = tmp_path / "model.npz"
    arguments = ["--epochs", "1", "--ctx", "cpu:1,cpu:0", "--save", str(path)]
    assert train_command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "on cpu(1), cpu(0)" in printed and path.exists()
    accuracy = float(printed.split("Test_acc ")[1].split()[0])
    assert accuracy == pytest.approx(0.875, abs=0.02)  # the published ones are 0.8787 and 0.8877

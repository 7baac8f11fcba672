"""What the tests share: MNIST, a trained network, and processes for what is set at start-up."""

import gc
import os
import signal
import subprocess
import sys

import pytest

from mlp_mx import InputError, data, fast, model, runtime, train
from mlp_mx.data import ArrayLoader, glyphs, mnist

# Shells start background jobs with SIGINT ignored, and nohup does so with SIGHUP; tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish():
    """Let no garbage collection look at modules again; gluon asks for one with each loader."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Skip the tests marked ``gpu`` where MXNet has none that it can use, and say why."""
    for marker in item.iter_markers("gpu"):
        try:
            runtime.context(marker.args[0])
        except InputError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder of the four MNIST files, which tests never download."""
    folder = mnist.folder()
    wrong = {name: state for name, state in mnist.status(folder).items() if state != "verified"}
    if wrong:
        message = f"no MNIST in {folder}: `python -m mlp_mx.train` gets it, or set MLP_MX_DATA"
        if os.environ.get("MLP_MX_REQUIRE_MNIST") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def mnist_loaders(mnist_dir):
    """MNIST's training and test data, which no test changes."""
    return data.load("auto", mnist_dir)


@pytest.fixture(scope="session")
def fit_and_evaluate_last():
    """As `mlp_mx.train.fit`, but only the last epoch is evaluated."""

    def fit(params, train_data, test_data, epochs, learning_rate=0.001, net=model.net,
            update=train.SGD):
        traced, loss = fast.traced(net), fast.traced(model.softmax_cross_entropy)
        with fast.packed(params, update) as working:
            for epoch in range(epochs):
                train_data.set_epoch(epoch)
                total = train.train_epoch(working, train_data, learning_rate, traced, loss, update)
        yield train.Epoch(epoch, total / train_data.num_examples,
                          train.evaluate_accuracy(train_data, params, net),
                          train.evaluate_accuracy(test_data, params, net), seconds=0)

    return fit


@pytest.fixture(scope="session")
def trained(mnist_loaders):
    """The chapter's network after 300 steps on MNIST, 93% right; no test changes it."""
    train_data, params = mnist_loaders[0], model.init_params(weight_scale=0.05, seed=0)
    part = ArrayLoader(train_data.data[:19200], train_data.label[:19200])
    next(train.fit(params, part, part.in_order(64), epochs=1, learning_rate=0.005))
    return params


@pytest.fixture
def few_glyphs(monkeypatch):
    """Replace the glyphs by 656 training and 500 test images."""
    from small_run import SPLITS

    monkeypatch.setattr(glyphs, "load", lambda data_dir, progress: SPLITS)


@pytest.fixture
def python():
    """Run Python in a process of its own: ``python(*arguments, **environment)``."""

    def run(*arguments, **environment):
        # The kernel of OpenBLAS is for the package to choose, or for the test.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**inherited, **environment}, capture_output=True, text=True, timeout=120,
        )

    return run

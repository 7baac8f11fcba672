"""The chapter's training in several ways, each to be run in a process of its own.

A peer is a class: making it reads MNIST and draws parameters; ``train()`` passes over the training
data once and returns the mean loss; ``evaluate()`` returns the accuracy on both sets, or None.
As a script this file serves one peer: it prints its start-up time, then, for each line that it is
sent, the times of an epoch, and at the end its peak memory, all as JSON. `Worker` is the other end.
"""

import argparse
import ctypes
import gzip
import json
import os
import resource
import subprocess
import sys
import time

START = time.perf_counter()
HERE = os.path.dirname(os.path.abspath(__file__))


def shapes(num_hidden):
    return [(784, num_hidden), (num_hidden,), (num_hidden, num_hidden), (num_hidden,),
            (num_hidden, 10), (10,)]


def read_mnist(images):
    """Images and labels of both sets in NumPy, the training set cut or repeated to a size."""
    import numpy as np

    from mlp_mx.data import mnist

    def read(name, offset):
        with gzip.open(mnist.folder() / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    arrays = [read(name, 8 if "labels" in name else 16) for name in mnist.FILES]
    train, train_label, test, test_label = (
        array.reshape(-1, 784).astype(np.float32) / 255 if len(array) > 60000 else array
        for array in arrays
    )
    return (np.resize(train, (images, 784)), np.resize(train_label, images), test, test_label)


class MlpMx:
    """This package: what `mlp_mx.train.fit` does in an epoch."""

    environment = {}

    def __init__(self, images, num_hidden, batch_size):
        from mlp_mx import data, model
        from mlp_mx.runtime import nd

        self._train_data, self._test_data = data.load("mnist", batch_size=batch_size)
        if images != 60000:
            index = nd.arange(images) % 60000
            arrays = (nd.take(array, index) for array in
                      (self._train_data.data, self._train_data.label))
            self._train_data = data.ArrayLoader(*arrays, batch_size, seed=0)
        self._params = model.init_params(num_hidden=num_hidden, seed=0)
        self._net, self._loss = self._functions()
        next(iter(self._train_data))[0].wait_to_read()

    def _functions(self):
        from mlp_mx import fast, model

        return fast.traced(model.net), fast.traced(model.softmax_cross_entropy)

    def train(self):
        from mlp_mx import fast, train
        from mlp_mx.train import batches

        seen = batches.for_training(self._train_data, self._params, epoch=0)
        with fast.packed(self._params) as params:
            loss = train.train_epoch(params, batches.with_labels_in_range(seen, 10), 0.001,
                                     self._net, self._loss)
        return loss / self._train_data.num_examples

    def evaluate(self):
        from mlp_mx import train

        return [train.evaluate_accuracy(loader, self._params, self._net)
                for loader in (self._train_data, self._test_data)]


class MlpMxOwnNet(MlpMx):
    """This package, with a network of its user: the chapter's, word for word."""

    def _functions(self):
        from mlp_mx import fast, model
        from mlp_mx.runtime import nd

        def relu(X):
            return nd.maximum(X, nd.zeros_like(X))

        def net(X, params):
            W1, b1, W2, b2, W3, b3 = params
            h1 = relu(nd.dot(X, W1) + b1)
            h2 = relu(nd.dot(h1, W2) + b2)
            return nd.dot(h2, W3) + b3

        return fast.traced(net), fast.traced(model.softmax_cross_entropy)


class MlpMxOwnLoop(MlpMxOwnNet):
    """The chapter's loop as a reader writes it, with the two lines that make it fast."""

    def train(self):
        from mlp_mx import fast, train
        from mlp_mx.runtime import autograd, nd

        net, loss, cumulative_loss = self._net, self._loss, 0
        with fast.packed(self._params) as params:
            for X, label in self._train_data:
                label_one_hot = nd.one_hot(label, 10)
                with autograd.record():
                    output = net(X.reshape((-1, 784)), params)
                    losses = loss(output, label_one_hot)
                losses.backward()
                train.SGD(params, 0.001)
                cumulative_loss += nd.sum(losses)
        return cumulative_loss.asscalar() / self._train_data.num_examples


class Chapter:
    """The literal chapter, on MXNet as pip installs it."""

    environment = {}

    def __init__(self, images, num_hidden, batch_size):
        import numpy as np

        np.bool = bool
        import mxnet as mx  # before the package does it, and does it better

        sys.path.insert(0, os.path.join(HERE, os.pardir, "tests"))
        import chapter
        from mlp_mx import data
        from mlp_mx.data import mnist

        self._mx, self._chapter = mx, chapter
        self._loaders = [
            mx.gluon.data.DataLoader(
                mx.gluon.data.vision.MNIST(str(mnist.folder()), train, data.transform),
                batch_size, shuffle=train,
            ) for train in (True, False)
        ]
        self._params = [mx.nd.random_normal(shape=shape, scale=0.01)
                        for shape in shapes(num_hidden)]
        for param in self._params:
            param.attach_grad()
        next(iter(self._loaders[0]))

    def train(self):
        return sum(
            self._chapter.step(X, label, self._params, 0.001) for X, label in self._loaders[0]
        ) / 60000

    def evaluate(self):
        nd = self._mx.nd

        def accuracy(loader):
            numerator = denominator = 0.0
            for X, label in loader:
                output = self._chapter.net(X.reshape((-1, 784)), self._params)
                numerator += nd.sum(nd.argmax(output, axis=1) == label)
                denominator += X.shape[0]
            return (numerator / denominator).asscalar()

        return [accuracy(loader) for loader in self._loaders]


class PyTorch:
    """PyTorch with its DataLoader, and the chapter's raw parameters and update."""

    environment = {}

    def __init__(self, images, num_hidden, batch_size):
        import torch

        self._torch = torch
        arrays = read_mnist(images)
        tensors = [torch.from_numpy(array if array.ndim == 2 else array.astype("int64"))
                   for array in arrays]
        sets = [torch.utils.data.TensorDataset(*tensors[i:i + 2]) for i in (0, 2)]
        self._train_data = torch.utils.data.DataLoader(sets[0], batch_size, shuffle=True)
        self._sets = [data.tensors for data in sets]
        self._make(num_hidden)
        next(iter(self._train_data))

    def _make(self, num_hidden):
        torch = self._torch
        self._params = [(torch.randn(shape) * 0.01).requires_grad_()
                        for shape in shapes(num_hidden)]

    def _net(self, X):
        W1, b1, W2, b2, W3, b3 = self._params
        h1 = self._torch.relu(X @ W1 + b1)
        return self._torch.relu(h1 @ W2 + b2) @ W3 + b3

    def _step(self):
        with self._torch.no_grad():
            for param in self._params:
                param -= 0.001 * param.grad
                param.grad = None

    def train(self):
        total = 0.0
        for X, label in self._train_data:
            loss = self._torch.nn.functional.cross_entropy(self._net(X), label, reduction="sum")
            loss.backward()
            self._step()
            total += loss.item()
        return total / len(self._train_data.dataset)

    def evaluate(self):
        with self._torch.no_grad():  # in batches of 1000, without the DataLoader's cost
            return [
                sum((self._net(X[i:i + 1000]).argmax(1) == label[i:i + 1000]).sum().item()
                    for i in range(0, len(X), 1000)) / len(X) for X, label in self._sets
            ]


class PyTorchNN(PyTorch):
    """PyTorch with its DataLoader, ``nn.Linear`` and ``optim.SGD``."""

    def _make(self, num_hidden):
        nn = self._torch.nn
        self._net = nn.Sequential(
            nn.Linear(784, num_hidden), nn.ReLU(), nn.Linear(num_hidden, num_hidden), nn.ReLU(),
            nn.Linear(num_hidden, 10),
        )
        self._optimizer = self._torch.optim.SGD(self._net.parameters(), lr=0.001)

    def _step(self):
        self._optimizer.step()
        self._optimizer.zero_grad()


class Jax:
    """JAX with jit, batches indexed in NumPy."""

    environment = {"JAX_PLATFORMS": "cpu"}

    def __init__(self, images, num_hidden, batch_size):
        import jax
        import numpy as np
        from jax import numpy as jnp

        self._np, self._batch_size = np, batch_size
        self._arrays = read_mnist(images)
        self._params = [jnp.asarray(np.random.normal(0, 0.01, shape).astype("float32"))
                        for shape in shapes(num_hidden)]

        def net(params, X):
            W1, b1, W2, b2, W3, b3 = params
            return jax.nn.relu(jax.nn.relu(X @ W1 + b1) @ W2 + b2) @ W3 + b3

        def loss(params, X, label):
            log_probability = jax.nn.log_softmax(net(params, X))
            return -jnp.take_along_axis(log_probability, label[:, None], axis=1).sum()

        def step(params, X, label):
            value, gradients = jax.value_and_grad(loss)(params, X, label)
            return [p - 0.001 * g for p, g in zip(params, gradients)], value

        self._step = jax.jit(step)
        self._correct = jax.jit(lambda params, X, label: (net(params, X).argmax(1) == label).sum())

    def train(self):
        X, label = self._arrays[:2]
        order = self._np.random.permutation(len(X))
        losses = []
        for i in range(0, len(X), self._batch_size):
            batch = order[i:i + self._batch_size]
            self._params, loss = self._step(self._params, X[batch], label[batch])
            losses.append(loss)
        return float(sum(losses)) / len(X)

    def evaluate(self):
        return [
            float(sum(self._correct(self._params, X[i:i + 1000], label[i:i + 1000])
                      for i in range(0, len(X), 1000))) / len(X)
            for X, label in (self._arrays[:2], self._arrays[2:])
        ]


class Gemm:
    """The matrix products of an epoch and nothing else: OpenBLAS of MXNet's wheel, one thread."""

    environment = {}

    def __init__(self, images, num_hidden, batch_size):
        import numpy as np

        from mlp_mx import runtime

        os.environ.setdefault("OPENBLAS_CORETYPE", runtime.blas_kernel() or "")
        folder = os.path.dirname(runtime.mx.__file__)
        library = ctypes.CDLL(os.path.join(folder, "libopenblas.so.0"))
        library.openblas_set_num_threads(1)
        self._cblas_sgemm = library.cblas_sgemm
        self._images, self._batch_size = images, batch_size
        self._layers = [(784, num_hidden), (num_hidden, num_hidden), (num_hidden, 10)]
        size = max(1000, batch_size) * max(784, num_hidden) + 784 * num_hidden + num_hidden ** 2
        self._memory = [np.ones(size, np.float32) for _ in range(3)]

    def _gemm(self, m, n, k, transpose_a=False, transpose_b=False):
        a, b, c = (array.ctypes.data_as(ctypes.c_void_p) for array in self._memory)
        self._cblas_sgemm(
            101, 112 if transpose_a else 111, 112 if transpose_b else 111, m, n, k,
            ctypes.c_float(1), a, m if transpose_a else k, b, k if transpose_b else n,
            ctypes.c_float(0), c, n,
        )

    def train(self):
        for _ in range(-(-self._images // self._batch_size)):
            for inputs, outputs in self._layers:
                self._gemm(self._batch_size, outputs, inputs)
                self._gemm(inputs, outputs, self._batch_size, transpose_a=True)
                if inputs != 784:
                    self._gemm(self._batch_size, inputs, outputs, transpose_b=True)

    def evaluate(self):
        for _ in range((self._images + 10000) // 1000):
            for inputs, outputs in self._layers:
                self._gemm(1000, outputs, inputs)


PEERS = {
    "mlp_mx": MlpMx, "mlp_mx, own net": MlpMxOwnNet, "mlp_mx, own loop": MlpMxOwnLoop,
    "chapter": Chapter, "PyTorch": PyTorch, "PyTorch nn": PyTorchNN, "JAX jit": Jax,
    "GEMMs, OpenBLAS": Gemm,
}


class Worker:
    """A process that serves one peer; raises `ImportError` if the peer is not installed."""

    def __init__(self, name, images=60000, num_hidden=256, batch_size=64):
        # Not what this shell happens to say of kernels and threads: what a user gets.
        inherited = {key: value for key, value in os.environ.items()
                     if not key.startswith(("OPENBLAS_", "OMP_"))}
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, str(images), str(num_hidden), str(batch_size)],
            env={**inherited, **PEERS[name].environment}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        answer = self._read()
        if "missing" in answer:
            self._process.wait()
            raise ImportError(answer["missing"])
        self.startup = answer["startup"]

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a peer died with exit code {self._process.wait()}")
        return json.loads(line)

    def epoch(self):
        """Run an epoch: a dict of train and evaluate (seconds), loss and accuracy."""
        print(file=self._process.stdin, flush=True)
        return self._read()

    def close(self):
        """End the process; returns its peak memory in MB."""
        self._process.stdin.close()
        peak = self._read()["peak"]
        self._process.wait()
        return peak


def serve(name, images, num_hidden, batch_size):
    try:
        peer = PEERS[name](images, num_hidden, batch_size)
    except ImportError as error:
        print(json.dumps({"missing": error.name or str(error)}))
        return
    print(json.dumps({"startup": time.perf_counter() - START}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = peer.train()
        trained = time.perf_counter()
        accuracy = peer.evaluate()
        evaluated = time.perf_counter()
        print(json.dumps({"train": trained - start, "evaluate": evaluated - trained,
                          "loss": loss, "accuracy": accuracy and [float(a) for a in accuracy]}),
              flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    for option in ("images", "num_hidden", "batch_size"):
        parser.add_argument(option, type=int)
    args = parser.parse_args()
    serve(args.peer, args.images, args.num_hidden, args.batch_size)

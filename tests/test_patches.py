"""What NumPy, SciPy and Python have changed since MXNet 1.9.1, seen through MXNet's own interface.

Expected values are those of NumPy 1, as plain numbers. What depends on the state in which MXNet is
imported runs in a process of its own.
"""

import builtins
import functools
import http.server
import io
import json
import pathlib
import pickle
import shutil
import sys
import tarfile
import threading
import types
import warnings

import numpy as np
import pytest
import requests
from numpy.testing import assert_array_equal

from mlp_mx import Error
from mlp_mx._support import mirrors
from mlp_mx.data import mnist
from mlp_mx.runtime import autograd, gluon, imports, mx, nd, numpy_names

LEFT_ALONE = """
import numpy, sys, types, warnings
modules = [numpy]
try:
    import scipy.sparse
    modules.append(scipy.sparse)
except ImportError:
    pass
before = [dict(vars(module)) for module in modules]
warnings.simplefilter("error")
from mlp_mx.runtime import mx, nd
import mxnet.contrib.quantization
nd.array([1.5])
assert sys.modules["numpy"] is numpy and "distutils" not in sys.modules
for module, names in zip(modules, before):
    assert all(vars(module)[name] is names[name] for name in names)
    added = [vars(module)[name] for name in set(vars(module)) - set(names)]
    assert all(type(value) is types.ModuleType for value in added), added
if len(modules) == 2:
    csr = scipy.sparse.csr_matrix([[0, 2], [3, 0]], dtype="float32")
    assert mx.nd.sparse.array(csr).asnumpy().tolist() == [[0, 2], [3, 0]]
    assert mx.nd.sparse.csr_matrix(csr).asscipy().toarray().tolist() == [[0, 2], [3, 0]]
"""


def test_numpy_and_scipy_are_left_as_they_are_and_no_warning_is_an_error(python):
    result = python("-c", LEFT_ALONE)
    assert (result.stderr, result.returncode) == ("", 0)


def test_names_and_functions_that_numpy_removed_do_what_they_did():
    numpy = numpy_names.as_mxnet_knew_it()
    for name, value in numpy_names.NAMES.items():  # put back only where they are missing
        assert getattr(numpy, name) is vars(np).get(name, value)
    assert mx.np.PINF == np.inf and mx.np.NINF == -np.inf and np.isnan(mx.np.NaN)
    for name in ("fallback", "utils", "multiarray"):
        module = vars(sys.modules[f"mxnet.numpy.{name}"])
        assert (module.get("onp") or module["_np"]).PINF == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy 1.24 to 2.3, which have some of these
        assert_array_equal(
            numpy.in1d(np.array([[1, 2], [3, 4]]), [2, 3], invert=True), [True, False, False, True])
        assert_array_equal(numpy.msort(np.array([[3, 1], [2, 2]])), [[2, 1], [3, 2]])
        assert numpy.trapz([1, 2, 3]) == 4
        assert numpy.product([2, 3]) == 6 and numpy.round_(2.6) == 3
    assert numpy.alltrue([1, 1]) and not numpy.alltrue([0, 1]) and not numpy.sometrue([0, 0])
    for array in mx.nd.array, mx.np.array:
        assert_array_equal(array([300, -1], dtype="uint8").asnumpy(), [44, 255])


def test_operators_import_as_fast_as_python_does():
    modules = [module for name, module in sys.modules.items()
               if name.startswith("mxnet.") and not name.startswith(imports.IMPORT_LATER)]
    assert len(modules) > 100
    assert {module.__builtins__["__import__"] for module in modules} == {builtins.__import__}


def test_operators_call_numpys_old_functions_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nd.moveaxis(nd.ones((2, 3, 4)), 0, -1).shape == (3, 4, 2)
    with mx.util.np_shape(True), mx.util.np_array(True):
        x = mx.np.array([[1.0, 2.0], [4.0, 3.0]])
        padded = mx.np.pad(x, ((1, 0), (0, 0)), mode="constant")
        assert_array_equal(padded.asnumpy(), [[0, 0], [1, 2], [4, 3]])
        assert_array_equal(mx.np.trapz(x).asnumpy(), [1.5, 3.5])
        assert np.sum(x) == 10 and isinstance(np.sum(x), mx.np.ndarray)


def test_numpy_takes_an_ndarray_whole():
    values = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    array = nd.array(values)
    assert np.array(array).dtype == np.float32
    assert_array_equal(np.array(array), values)
    assert_array_equal(np.asarray(array, dtype=np.int64), values)
    assert np.asarray(array, dtype=np.int64).dtype == np.int64
    assert_array_equal(np.sqrt(array), np.sqrt(values))
    assert_array_equal(np.array([array, array])[1], values)
    if numpy_names.IS_NUMPY_2:
        with pytest.raises(ValueError, match="copied"):
            np.array(array, copy=False)


def test_plot_takes_an_ndarray():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    line, = axes.plot(nd.array([1, 2, 4]), nd.array([3, 5, 7]))
    pyplot.close(figure)
    assert_array_equal(line.get_xydata(), [[1, 3], [2, 5], [4, 7]])


def test_operators_take_numpys_numbers():
    one, two, three = np.int64([1, 2, 3])
    assert nd.zeros((two, three)).reshape((three, two)).shape == (3, 2)
    assert nd.ones((4, 5)).slice(begin=(one, two), end=(three, three)).shape == (2, 1)
    assert nd.ones((2, 3)).transpose((one, one - 1)).shape == (3, 2)
    boxes = nd.contrib.MultiBoxPrior(nd.zeros((1, 1, 1, 1)), sizes=[np.float64(0.5), 1])
    assert_array_equal(boxes.asnumpy()[0], [[0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]])
    convolution = gluon.nn.Conv2D(two, (three, three), padding=(one, one))
    convolution.initialize()
    convolution.hybridize()
    assert convolution(nd.ones((1, 1, 5, 5))).shape == (1, 2, 5, 5)
    x = mx.sym.var("x", shape=(two, three))
    pooled = mx.sym.Pooling(mx.sym.reshape(x, (1, 1, two, three)), kernel=(two, two))
    assert pooled.infer_shape()[1] == [(1, 1, 1, 2)]
    clipped = nd.clip(nd.array([-2, 0, 2]), np.float64(-1), np.float32(1))
    assert_array_equal(clipped.asnumpy(), [-1, 0, 1])
    assert nd.sum(nd.ones((2, 3)), axis=(one - 1,), keepdims=np.bool_(True)).shape == (1, 3)
    x.optimize_for("no such backend")  # asserts that a string is a str


def test_recordio_packs_labels_and_images(monkeypatch):
    header = mx.recordio.IRHeader(0, [1.0, 2.5, -3.0], 7, 0)
    encoded = np.frombuffer(b"image", np.uint8)
    opencv = types.SimpleNamespace(imencode=lambda suffix, image, options: (True, encoded))
    monkeypatch.setattr(mx.recordio, "cv2", opencv)
    for packed in (mx.recordio.pack(header, b"image"),
                   mx.recordio.pack_img(header, "pixels", img_fmt=".bmp")):
        found, content = mx.recordio.unpack(packed)
        assert found.id == 7 and content == b"image"
        assert_array_equal(found.label, [1.0, 2.5, -3.0])


def test_metrics_add_up_in_double_precision():
    for metric in mx.metric.Loss(), mx.metric.MAE():
        metric.sum_metric += 2.0 ** 24  # where float32 no longer tells n from n + 1
        for _ in range(3):
            metric.update([nd.zeros((1, 1))], [nd.ones((1, 1))])
        assert metric.sum_metric == 2.0 ** 24 + 3
        metric.reset()
        assert metric.sum_metric == 0 and type(metric.sum_metric + np.float32(1)) is np.float64
        assert pickle.loads(pickle.dumps(metric)).sum_metric == 0
    both = mx.metric.create(["acc", "ce"])
    both.update([nd.array([0, 1])], [nd.array([[0.75, 0.25], [0.75, 0.25]])])
    assert both.get()[0] == ["accuracy", "cross-entropy"]
    np.testing.assert_allclose(
        both.get()[1], [0.5, -(np.log(0.75) + np.log(0.25)) / 2], rtol=1e-6)


def test_gluons_trainer_takes_a_step():
    dense = gluon.nn.Dense(1, in_units=2)
    dense.initialize("zeros")
    trainer = gluon.Trainer(dense.collect_params(), "sgd", {"learning_rate": np.float64(0.5)})
    with autograd.record():
        loss = gluon.loss.L2Loss()(dense(nd.array([[1, 2], [3, 4]])), nd.array([1, 2]))
    loss.backward()
    trainer.step(2)
    assert dense.weight.data().asnumpy().tolist() == [[1.75, 2.5]]  # half of the mean of y x
    assert dense.bias.data().asnumpy().tolist() == [0.75]


WORKERS = """
import multiprocessing
multiprocessing.set_start_method("forkserver")  # the default of Python 3.14 on Linux
from mlp_mx.runtime import gluon, nd
table = nd.arange(10)
squares = gluon.data.SimpleDataset([*range(10)]).transform(lambda number: table[number] ** 2)
loader = gluon.data.DataLoader(squares, batch_size=5, num_workers=2)
print([batch.asnumpy().ravel().tolist() for batch in loader])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_of_a_dataloader_have_its_data(python):
    result = python("-OO", "-W", "ignore", "-c", WORKERS)  # -OO: MXNet needs its docstrings
    assert result.stdout == f"{[[0.0, 1.0, 4.0, 9.0, 16.0], [25.0, 36.0, 49.0, 64.0, 81.0]]}\n", (
        result.stderr)


AFTER_A_FAILURE = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    import mxnet
except AttributeError as error:
    print(error)
assert "mxnet.base" in sys.modules and "mxnet" not in sys.modules
from mlp_mx.runtime import mx, nd
assert nd.ones((2, 3)).sum().asscalar() == 6 and isinstance(mx.np.ones(2), mx.np.ndarray)
try:
    import scipy.sparse
except AttributeError as error:
    print(error)
"""


@pytest.mark.slow
def test_import_after_one_that_failed_because_of_a_scipy_for_another_numpy(python, tmp_path):
    """As in a notebook after a first attempt to ``import mxnet``."""
    (tmp_path / "scipy" / "sparse").mkdir(parents=True)
    (tmp_path / "scipy" / "__init__.py").touch()
    (tmp_path / "scipy" / "sparse" / "__init__.py").write_text("import numpy; numpy.of_numpy_9")
    result = python("-W", "ignore", "-c", AFTER_A_FAILURE, tmp_path)
    assert (result.stdout, result.stderr) == (
        "module 'numpy' has no attribute 'of_numpy_9'\n" * 2, "")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server on loopback, instead of all public mirrors; returns its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = server.server_address[1]
        monkeypatch.setenv("MLP_MX_MIRROR", f"http://user:secret@127.0.0.1:{port}")
        for name in mirrors.MIRRORS:
            monkeypatch.setitem(mirrors.MIRRORS, name, ("http://127.0.0.1:9/",))  # nobody there
        monkeypatch.chdir(tmp_path)
        yield folder
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_data_sets_come_from_mirrors(mirror, tmp_path, capsys, mnist_dir, monkeypatch):
    for name in mnist.FILES:
        shutil.copy(mnist_dir / name, mirror)
    assert gluon.data.vision.MNIST(str(tmp_path / "gluon"), train=False)[0][1] == 7
    assert mx.test_utils.get_mnist()["test_label"][:3].tolist() == [7, 2, 1]
    train, test = mx.test_utils.get_mnist_iterator(100, (784,))
    labels = np.concatenate([batch.label[0].asnumpy() for batch in test])
    assert len(labels) == 10000 and (labels == 7).sum() == 1028
    assert "secret" not in capsys.readouterr().out
    fashion = mirror / "fashion-mnist"
    fashion.mkdir()
    for name in mnist.FILES:
        shutil.copy(mnist_dir / name, fashion)
    monkeypatch.setattr(gluon.utils, "check_sha1", lambda path, sha1: True)
    assert gluon.data.vision.FashionMNIST(str(tmp_path / "fashion"), train=False)[0][1] == 7


def test_mirrors_without_the_right_file_are_named(mirror, tmp_path):
    broken = mirror / "fashion-mnist"
    broken.mkdir()
    (broken / "t10k-images-idx3-ubyte.gz").write_bytes(b"not the file")
    for load, file in ((gluon.data.vision.FashionMNIST, "t10k-images-idx3-ubyte.gz"),
                       (gluon.data.vision.CIFAR10, "cifar-10-binary.tar.gz"),
                       (gluon.data.vision.CIFAR100, "cifar-100-binary.tar.gz")):
        with pytest.raises(Error, match=f"^{file} cannot be downloaded: .* set MLP_MX_MIRROR") as e:
            load(str(tmp_path / f"{file} here"), train=False)
        assert "secret" not in str(e.value) and "127.0.0.1:9/" in str(e.value)
    assert "UserWarning" in str(e.value) or "RuntimeError" in str(e.value)


def _pack(archive, **files):
    """A tar archive as CIFAR's makers have it: its files are in a folder."""
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-binary/{name}.bin")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_cifar_is_unpacked_from_its_makers_archive(mirror, tmp_path, monkeypatch):
    """Nobody here has the real files; the stand-ins are known by their first byte."""
    checked = gluon.data.vision.datasets.check_sha1
    monkeypatch.setattr(gluon.data.vision.datasets, "check_sha1",
                        lambda path, sha1: pathlib.Path(path).read_bytes()[:1] == b"\7")
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    root = tmp_path / "ten"
    root.mkdir()
    (root / "cifar-10-binary.tar.gz").write_bytes(b"a download that was cut")
    (mirror / "cifar10").mkdir()
    record = b"\7" + b"".join(bytes([value]) * 1024 for value in (1, 2, 3))
    _pack(mirror / "cifar10" / "cifar-10-binary.tar.gz", **dict.fromkeys(names, record))
    image, label = gluon.data.vision.CIFAR10(str(root), train=False)[0]
    assert label == 7 and image.asnumpy()[0, 0].tolist() == [1, 2, 3]
    assert len(gluon.data.vision.CIFAR10(str(root))) == 5
    (mirror / "cifar100").mkdir()
    _pack(mirror / "cifar100" / "cifar-100-binary.tar.gz",
          train=b"\7\x2a" + bytes(3072), test=b"\7\x2b" + bytes(3072))
    hundred = gluon.data.vision.CIFAR100(str(tmp_path / "hundred"), fine_label=True, train=False)
    assert hundred[0][1] == 43
    monkeypatch.setattr(gluon.data.vision.datasets, "check_sha1", checked)
    with pytest.raises(Error, match="cifar-10-binary.tar.gz lacks files that gluon knows by SHA-1"):
        gluon.data.vision.CIFAR10(str(root))


def test_what_has_no_mirror_says_so_once(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MXNET_GLUON_REPO", raising=False)
    asked = []
    monkeypatch.setattr(requests, "get", lambda url, **options: asked.append(options) or 1 / 0)
    for load, message in (
        (lambda: gluon.model_zoo.vision.resnet18_v1(pretrained=True, root="zoo"),
         r"resnet18_v1-\w+.zip cannot be downloaded: MXNet's host is gone, and no public copy is "
         r"known; get it elsewhere and put it where MXNet looks \(zoo\)"),
        (mx.test_utils.get_cifar10, r"cifar10.zip cannot .*\(data\), or set MXNET_GLUON_REPO"),
        (mx.test_utils.get_mnist_pkl, "mnist.pkl.gz cannot be downloaded"),
    ):
        with pytest.raises(Error, match=message) as error:
            load()
        assert "\n" not in str(error.value)
    assert len(asked) == 3 and all(options["timeout"] for options in asked)
    monkeypatch.setenv("MXNET_GLUON_REPO", "http://127.0.0.1:9/own")
    with pytest.raises(ZeroDivisionError):  # the user's own copy is asked as MXNet asks
        gluon.model_zoo.vision.resnet18_v1(pretrained=True, root="zoo")
    assert len(asked) > 4


def test_asscalar_computes_as_in_numpy_1():
    total = 0
    for value in (2 ** 24, 1, 1):
        total += nd.array([value]).asscalar()
    assert total == 2 ** 24 + 2 and total.dtype == np.float64
    assert nd.array([250], dtype="uint8").asscalar() + 10 == 260
    assert 10 - nd.array([250], dtype="uint8").asscalar() == -240
    assert nd.array([[3]]).asscalar() == float(nd.array([[3]]).asscalar()) == 3
    half = nd.array([0.1]).asscalar()
    assert (str(half), f"{half}") == ("0.1", f"{np.float32(0.1)}") and half.dtype == np.float32
    assert isinstance(half, np.float32) and np.array([half, half]).dtype == np.float32
    assert (half * np.float32(2)).dtype == np.float32 and (half / 3).dtype == np.float64
    assert 2 ** nd.array([70]).asscalar() == 2.0 ** 70 and nd.array([7.5]).asscalar() % 2 == 1.5
    assert (nd.array([2], dtype="int32").asscalar() / 3).dtype == np.float64
    assert pickle.loads(pickle.dumps(half)) == half and json.dumps(float(half))


def test_generators_are_verified():
    """Probabilities of 1/3 make expected frequencies that are not whole numbers."""
    pytest.importorskip("scipy.stats")
    options = {"probs": [1 / 3] * 3, "nsamples": 100000, "nrepeat": 3}
    mx.random.seed(3)
    mx.test_utils.verify_generator(
        lambda size: nd.random.randint(0, 3, shape=size).asnumpy(), [0, 1, 2], **options)
    with pytest.raises(AssertionError, match="Generator test fails"):
        mx.test_utils.verify_generator(
            lambda size: nd.random.randint(0, 4, shape=size).asnumpy() // 2 * 2 % 3,
            [0, 2, 1], **options)


LSTM = """
import sys
import numpy as np
import onnx, onnxruntime
from mlp_mx.runtime import gluon, mx, nd

class Unrolled(gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        self.cell = gluon.rnn.LSTMCell(4, input_size=5)

    def hybrid_forward(self, F, x):
        return self.cell.unroll(3, x, layout="NTC", merge_outputs=True)[0]

net, x = Unrolled(), nd.random.uniform(shape=(2, 3, 5))
net.initialize()
net.hybridize()
expected = net(x).asnumpy()
net.export("lstm")
mx.onnx.export_model("lstm-symbol.json", "lstm-0000.params", [x.shape], np.float32, "lstm.onnx")
onnx.checker.check_model(onnx.load("lstm.onnx"), full_check=True)
session = onnxruntime.InferenceSession("lstm.onnx", providers=["CPUExecutionProvider"])
(found,) = session.run(None, {session.get_inputs()[0].name: x.asnumpy()})
print("largest difference:", abs(found - expected).max())
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [
    pathlib.Path(__file__).parents[1] / "examples" / "leaving" / "mxnet_export.py", LSTM])
def test_onnx_runtime_computes_what_mxnet_exported(program, tmp_path, python, monkeypatch):
    for library in "onnx", "onnxruntime":
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    start = ("-c", program, "network.onnx") if program is LSTM else (program, "network.onnx")
    result = python("-W", "ignore", *start)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split(": ")[1]) < 2e-6


def test_plot_network_names_the_layers():
    pytest.importorskip("graphviz")
    network = mx.sym.FullyConnected(mx.sym.var("pixels"), num_hidden=10, name="scores")
    assert "scores" in mx.viz.plot_network(network).source

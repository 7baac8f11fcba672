"""ONNX files: what onnxruntime computes from them, against `model.net`."""

import importlib
import os
import sys

import numpy as np
import pytest

from mlp_mx import Error, InputError, __version__, checkpoint, export, model
from mlp_mx.data import glyphs
from mlp_mx.export import __main__ as export_command
from mlp_mx.runtime import nd


def required(name):
    """Import a package, or skip these tests, or fail where ``MLP_MX_REQUIRE_ONNX=1``."""
    if os.environ.get("MLP_MX_REQUIRE_ONNX") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"no {name}: pip install '.[test,onnx]'")


onnx = required("onnx")
onnxruntime = required("onnxruntime")

METADATA = {"dataset": "MNIST", "test_accuracy": 0.93, "loss": None, "author": "Zoë \ud800"}


@pytest.fixture(scope="module")
def digits():
    return nd.array(glyphs.generate("test", 1000)[0][..., None]) / 255


@pytest.fixture(scope="module")
def params():
    return model.init_params(weight_scale=0.1, seed=0)


def run(proto, images):
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"images": images})[0]


def assert_same(outputs, expected):
    """To 1e-5, of 1 or of the value if that is more, and the same classes."""
    assert outputs.shape == expected.shape and outputs.dtype == np.float32
    assert (np.abs(outputs - expected) <= 1e-5 * np.maximum(1, np.abs(expected))).all()
    assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_to_onnx_computes_what_net_computes(params, digits, batch_size, softmax):
    X = digits[:batch_size]
    expected = model.net(X, params)
    expected = model.softmax(expected) if softmax else expected
    assert_same(run(export.to_onnx(params, METADATA, softmax), X.asnumpy()), expected.asnumpy())


def test_to_onnx_takes_networks_of_other_sizes():
    params = model.init_params(num_inputs=6, num_hidden=1, num_outputs=3, weight_scale=1, seed=1)
    params[2:5] = [nd.random.normal(shape=shape) for shape in [(1, 4), (4,), (4, 3)]]
    X = nd.random.uniform(shape=(5, 6))
    assert_same(run(export.to_onnx(params), X.asnumpy()), model.net(X, params).asnumpy())


def test_to_onnx_refuses_other_depths():
    with pytest.raises(InputError, match="two hidden layers, found 3$"):
        export.to_onnx([nd.ones((784, 784)), nd.ones(784)] * 4)


def test_main_writes_what_the_checkpoint_says(params, tmp_path, capsys):
    paths = [tmp_path / name for name in ("model.npz", "a.onnx", "b.onnx")]
    checkpoint.save(paths[0], params, **METADATA)
    for path in paths[1:]:
        assert export_command.main([str(paths[0]), str(path)]) == 0
    assert "trained on MNIST, test accuracy 0.93" in capsys.readouterr().out
    assert paths[1].read_bytes() == paths[2].read_bytes()
    proto = onnx.load(str(paths[1]))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.doc_string.endswith("trained on MNIST, test accuracy 0.93")
    assert {prop.key: prop.value for prop in proto.metadata_props} == {
        "mlp_mx": __version__, "mxnet": "1.9.1", "dataset": "MNIST", "test_accuracy": "0.93",
        "loss": "null", "author": "Zoë ?",
    }


@pytest.mark.parametrize("source, output, complaint", [
    ("model.npz", "model.pb", "ends in .onnx"),
    ("model.npz", "nowhere/model.onnx", "No such file"),
    ("model.npz", "folder.onnx", "Is a directory"),
    ("absent.npz", "model.onnx", "absent.npz cannot be read"),
    ("model.onnx", "model.onnx", "MODEL and OUT both name"),
    ("other.onnx", "model.onnx", "ends in .npz or .params"),
    ("deep.npz", "model.onnx", "expected two hidden layers, found 0"),
])
def test_main_says_what_is_wrong(tmp_path, capsys, source, output, complaint):
    (tmp_path / "folder.onnx").mkdir()
    checkpoint.save(tmp_path / "model.npz", model.init_params(num_hidden=2))
    checkpoint.save(tmp_path / "deep.npz", model.init_params(num_hidden=2)[:2])
    before = sorted(tmp_path.iterdir())
    assert export_command.main([str(tmp_path / source), str(tmp_path / output)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and complaint in printed.err
    assert sorted(tmp_path.iterdir()) == before


def test_to_onnx_without_onnx_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Error, match="run: pip install '.\\[onnx\\]'$") as error:
        export.to_onnx(model.init_params(num_hidden=2))
    assert error.value.exit_code == 1

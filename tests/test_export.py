"""ONNX files: what onnxruntime computes from them, against `model.net`."""

import importlib
import os
import sys

import numpy as np
import pytest

from mlp_mx import Error, InputError, __version__, checkpoint, export, model
from mlp_mx.export import __main__ as export_command
from mlp_mx.runtime import nd


def required(name):
    """Import a package, or skip these tests, or fail where ``MLP_MX_REQUIRE_ONNX=1``."""
    if os.environ.get("MLP_MX_REQUIRE_ONNX") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"no {name}: pip install '.[test,onnx]'")


onnx = required("onnx")
onnxruntime = required("onnxruntime")


def check_outputs(proto, X, expected):
    """Check outputs to 1e-5, of 1 or of the value if that is more, and for the same classes."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs, expected = session.run(None, {"images": X.asnumpy()})[0], expected.asnumpy()
    assert outputs.shape == expected.shape and outputs.dtype == np.float32
    assert (np.abs(outputs - expected) <= 1e-5 * np.maximum(1, np.abs(expected))).all()
    assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_to_onnx_computes_what_net_computes():
    params = model.init_params(weight_scale=0.1, seed=0)
    for batch_size in (1, 1000):
        # From 0 to 1, and mostly dark, as digits are.
        X = nd.array(np.random.RandomState(0).power(0.1, (batch_size, 28, 28, 1)))
        logits = model.net(X, params)
        check_outputs(export.to_onnx(params), X, logits)
        check_outputs(export.to_onnx(params, softmax=True), X, model.softmax(logits))
    params = [nd.random.normal(shape=shape) for shape in [(6, 1), (1,), (1, 4), (4,), (4, 3), (3,)]]
    X = nd.random.uniform(shape=(5, 6))
    check_outputs(export.to_onnx(params), X, model.net(X, params))


@pytest.mark.parametrize("sizes", [(784, 10), (6, 5, 3), (784, 128, 64, 32, 16, 26)])
def test_to_onnx_takes_any_depth_and_widths(sizes):
    random = np.random.RandomState(0)
    params = [nd.array(random.normal(size=shape) / 8) for shapes in zip(sizes, sizes[1:])
              for shape in (shapes, shapes[1:])]
    X = random.uniform(size=(9, sizes[0])).astype("f4")
    expected = X
    for k, (W, b) in enumerate(zip(params[::2], params[1::2])):
        expected = (np.maximum(expected, 0) if k else expected) @ W.asnumpy() + b.asnumpy()
    proto = export.to_onnx(params)
    assert proto.doc_string == f"multilayer perceptron {'-'.join(map(str, sizes))}"
    images = nd.array(X.reshape(9, 28, 28, 1) if sizes[0] == 784 else X)
    check_outputs(proto, images, nd.array(expected))
    check_outputs(export.to_onnx(params, softmax=True), images, model.softmax(nd.array(expected)))


def test_main_writes_what_the_checkpoint_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save("model.npz", model.init_params(seed=0), dataset="MNIST\x1b", test_accuracy=0.93,
                    loss=None, author="Zoë \ud800", classes=["zero", "one"])
    for name in ("a.onnx", "b.onnx"):
        assert export_command.main(["model.npz", name, "--softmax"]) == 0
    assert "784-256-256-10, trained on MNIST\\x1b, test accuracy 0.93" in capsys.readouterr().out
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    proto = onnx.load("a.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [output.name for output in proto.graph.output] == ["probabilities"]
    assert proto.doc_string.endswith("trained on MNIST\x1b, test accuracy 0.93")
    assert {prop.key: prop.value for prop in proto.metadata_props} == {
        "mlp_mx": __version__, "mxnet": "1.9.1", "dataset": "MNIST\x1b", "test_accuracy": "0.93",
        "loss": "null", "author": "Zoë ?", "classes": '["zero", "one"]',
    }


@pytest.mark.parametrize("source, output, complaint", [
    ("model.npz", "model.pb", "ends in .onnx"),
    ("model.npz", "folder.onnx", "Is a directory"),
    ("model.onnx", "model.onnx", "MODEL and OUT both name"),
])
def test_main_says_what_is_wrong(tmp_path, capsys, source, output, complaint):
    (tmp_path / "folder.onnx").mkdir()
    params = model.init_params(num_hidden=2)
    checkpoint.save(tmp_path / "model.npz", params)
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


def test_to_onnx_refuses_what_are_no_layers():
    params = model.init_params(num_hidden=2)
    for wrong in (params[:3], [params[0].T, *params[1:]], [*params[:4], *params[:2]]):
        with pytest.raises(InputError, match=r"expected parameters \[W1, b1, W2, .*; found W1 "):
            export.to_onnx(wrong)

"""Export a network as an ONNX model, and ``python -m mlp_mx.export``."""

import json

from .. import checkpoint
from .._support.errors import Error, InputError
from .._version import __version__

__all__ = ["to_onnx"]


def __dir__():
    return __all__


# Of ONNX 1.6 (2019): programs refuse files with newer versions than they know.
OPSET, IR_VERSION = 11, 6


def to_onnx(params, metadata=None, softmax=False):
    """Build the ONNX model that computes `mlp_mx.predict.relu_net`, for batches of any size.

    Its input, ``images``, is float32 of shape (batch, 28, 28, 1), or (batch, num_inputs) if the
    network does not have 784 inputs. Its output is ``logits`` or ``probabilities``.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, …]``, of any number of layers and any sizes.
    metadata : dict, optional
        Written to the model's metadata; values that are not strings become JSON.
    softmax : bool, default False
        Output probabilities instead of logits.

    Returns
    -------
    onnx.ModelProto
        Checked by ONNX's own checker.

    Raises
    ------
    InputError
        If these are not weights and biases of layers that fit together.
    Error
        If the ``onnx`` package cannot be imported.
    """
    problem = checkpoint.problem_of(params)
    if problem:
        raise InputError(f"expected parameters [W1, b1, W2, b2, …] of layers: {problem}")
    try:
        from onnx import checker, helper, numpy_helper, parser
    except ImportError as error:
        raise Error(f"ONNX cannot be imported ({error}); in the project's folder, run: "
                    "pip install '.[onnx]'") from error
    sizes = [params[0].shape[0], *(bias.size for bias in params[1::2])]
    shape = "28,28,1" if sizes[0] == 28 * 28 else sizes[0]
    model = parser.parse_model(f"""
        <ir_version: {IR_VERSION}, opset_import: ["": {OPSET}], producer_name: "mlp_mx",
         producer_version: "{__version__}">
        mlp_mx (float[batch,{shape}] images)
            => (float[batch,{sizes[-1]}] {"probabilities" if softmax else "logits"})
        {{
            {_layers(len(sizes) - 1)}
            {"probabilities = Softmax(logits)" if softmax else ""}
        }}""")
    model.graph.input[0].doc_string = "pixels, white on black, from 0 to 1"
    for name, param in zip(checkpoint.names(len(params)), params):
        model.graph.initializer.append(numpy_helper.from_array(param.asnumpy(), name))
    metadata = {_text(name): _text(value) for name, value in (metadata or {}).items()}
    model.doc_string = _title(sizes, metadata)
    helper.set_model_props(model, metadata)
    checker.check_model(model, full_check=True)
    return model


def _layers(count):
    """Return the operations from ``images`` to ``logits``: `count` layers with ReLU in between."""
    lines = ["h0 = Flatten(images)"]
    for number in range(1, count):
        lines += [f"z{number} = Gemm(h{number - 1}, W{number}, b{number})",
                  f"h{number} = Relu(z{number})"]
    return "\n".join([*lines, f"logits = Gemm(h{count - 1}, W{count}, b{count})"])


def _text(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()  # JSON may hold half a character, ONNX may not


def _title(sizes, metadata):
    title = f"multilayer perceptron {'-'.join(map(str, sizes))}"
    if "dataset" in metadata:
        title += f", trained on {metadata['dataset']}"
    if "test_accuracy" in metadata:
        title += f", test accuracy {metadata['test_accuracy']}"
        title += f" after epoch {metadata['epoch']}" if "epoch" in metadata else ""
    return title

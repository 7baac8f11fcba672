"""Export the chapter's network as an ONNX model, and ``python -m mlp_mx.export``."""

import json

from .. import Error, InputError, __version__

__all__ = ["to_onnx"]

# Of ONNX 1.6 (2019): programs refuse files with newer versions than they know.
OPSET, IR_VERSION = 11, 6
NAMES = ("W1", "b1", "W2", "b2", "W3", "b3")


def to_onnx(params, metadata=None, softmax=False):
    """Build the ONNX model that computes `mlp_mx.model.net`, for batches of any size.

    Its input, ``images``, is float32 of shape (batch, 28, 28, 1), or (batch, num_inputs) if the
    network has other than 784 inputs. Its output is ``logits`` or ``probabilities``.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, of any sizes.
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
        If the network does not have two hidden layers.
    Error
        If the ``onnx`` package cannot be imported.
    """
    if len(params) != len(NAMES):
        raise InputError("only the chapter's network can be exported: expected two hidden layers, "
                         f"found {len(params) // 2 - 1}")
    try:
        from onnx import checker, helper, numpy_helper, parser
    except ImportError as error:
        raise Error(f"ONNX cannot be imported ({error}); in the project's folder, run: "
                    "pip install '.[onnx]'") from error
    num_inputs, num_outputs = params[0].shape[0], params[-1].shape[0]
    shape = "28,28,1" if num_inputs == 28 * 28 else num_inputs
    model = parser.parse_model(f"""
        <ir_version: {IR_VERSION}, opset_import: ["": {OPSET}], producer_name: "mlp_mx",
         producer_version: "{__version__}">
        mlp_mx (float[batch,{shape}] images)
            => (float[batch,{num_outputs}] {"probabilities" if softmax else "logits"})
        {{
            X = Flatten(images)
            z1 = Gemm(X, W1, b1)
            h1 = Relu(z1)
            z2 = Gemm(h1, W2, b2)
            h2 = Relu(z2)
            logits = Gemm(h2, W3, b3)
            {"probabilities = Softmax(logits)" if softmax else ""}
        }}""")
    model.graph.input[0].doc_string = "pixels, white on black, from 0 to 1"
    for name, param in zip(NAMES, params):
        model.graph.initializer.append(numpy_helper.from_array(param.asnumpy(), name))
    metadata = {_text(name): _text(value) for name, value in (metadata or {}).items()}
    model.doc_string = _title(metadata)
    helper.set_model_props(model, metadata)
    checker.check_model(model, full_check=True)
    return model


def _text(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()  # JSON may hold half a character, ONNX may not


def _title(metadata):
    title = "multilayer perceptron with two hidden layers"
    if "dataset" in metadata:
        title += f", trained on {metadata['dataset']}"
    if "test_accuracy" in metadata:
        title += f", test accuracy {metadata['test_accuracy']}"
        title += f" after epoch {metadata['epoch']}" if "epoch" in metadata else ""
    return title

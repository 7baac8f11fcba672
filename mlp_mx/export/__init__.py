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
    onnx = _import_onnx()
    num_inputs, num_outputs = params[0].shape[0], params[-1].shape[0]
    shape = [28, 28, 1] if num_inputs == 28 * 28 else [num_inputs]
    output = "probabilities" if softmax else "logits"
    metadata = {_text(name): _text(value) for name, value in (metadata or {}).items()}
    describe, floats = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        _nodes(onnx, output), "mlp_mx",
        [describe("images", floats, ["batch", *shape], "pixels, white on black, from 0 to 1")],
        [describe(output, floats, ["batch", num_outputs])],
        [onnx.numpy_helper.from_array(param.asnumpy(), name)
         for name, param in zip(NAMES, params)],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="mlp_mx", producer_version=__version__, doc_string=_title(metadata),
    )
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _import_onnx():
    try:
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise Error(
            f"ONNX cannot be imported ({error}); in the project's folder, run: "
            "pip install '.[onnx]'"
        ) from error
    return onnx


def _nodes(onnx, output):
    """The operations, each applied to the result of the previous one."""
    steps = [("Flatten",), ("Gemm", "W1", "b1"), ("Relu",), ("Gemm", "W2", "b2"), ("Relu",),
             ("Gemm", "W3", "b3")]
    if output == "probabilities":
        steps.append(("Softmax",))
    results = ["images", *(f"result{number}" for number in range(1, len(steps))), output]
    return [onnx.helper.make_node(operation, [source, *parameters], [result])
            for (operation, *parameters), source, result in zip(steps, results, results[1:])]


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

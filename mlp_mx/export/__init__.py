"""Export the chapter's network as an ONNX model, and ``python -m mlp_mx.export``."""

import json

from .. import Error, InputError, __version__

__all__ = ["to_onnx"]

# Of ONNX 1.6 (2019): programs refuse files with newer versions than they know.
OPSET, IR_VERSION = 11, 6
NAMES = ("W1", "b1", "W2", "b2", "W3", "b3")


def to_onnx(params, metadata=None, flat=False, uint8=False, softmax=False):
    """Build the ONNX model that computes `mlp_mx.model.net`, for batches of any size.

    Its input is ``images``, its output ``logits`` or ``probabilities``.

    Parameters
    ----------
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``, of any sizes, as `mlp_mx.checkpoint.load` returns them.
    metadata : dict, optional
        Written to the model's metadata; values that are not strings become JSON.
    flat : bool, default False
        The input has shape (batch, num_inputs) instead of (batch, 28, 28, 1).
    uint8 : bool, default False
        The input is uint8, pixels from 0 to 255, instead of float32, pixels from 0 to 1.
    softmax : bool, default False
        The output is probabilities instead of logits.

    Returns
    -------
    onnx.ModelProto
        Checked by ONNX's own checker.

    Raises
    ------
    InputError
        If the network does not have two hidden layers, or its input is neither 28 x 28 images nor
        flat.
    Error
        If the ``onnx`` package cannot be imported.
    """
    if len(params) != len(NAMES):
        raise InputError("only the chapter's network can be exported: expected two hidden layers, "
                         f"found {len(params) // 2 - 1}")
    onnx = _import_onnx()
    num_inputs, num_outputs = params[0].shape[0], params[-1].shape[0]
    if not flat and num_inputs != 28 * 28:
        raise InputError("expected a network with 784 inputs (28 x 28 images), "
                         f"found {num_inputs}; use --flat")
    metadata = {_text(name): _text(value) for name, value in (metadata or {}).items()}
    graph = onnx.helper.make_graph(
        _nodes(onnx, flat, uint8, softmax),
        "mlp_mx",
        [onnx.helper.make_tensor_value_info(
            "images", onnx.TensorProto.UINT8 if uint8 else onnx.TensorProto.FLOAT,
            ["batch", num_inputs] if flat else ["batch", 28, 28, 1],
            f"pixels, white on black, from 0 to {255 if uint8 else 1}")],
        [onnx.helper.make_tensor_value_info(
            "probabilities" if softmax else "logits", onnx.TensorProto.FLOAT,
            ["batch", num_outputs])],
        _constants(onnx, params, uint8),
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
            f"ONNX cannot be imported ({error}); run: pip install 'mlp_mx[onnx]'"
        ) from error
    return onnx


def _nodes(onnx, flat, uint8, softmax):
    """The operations, each applied to the result of the previous one."""
    steps = [("Gemm", "W1", "b1"), ("Relu",), ("Gemm", "W2", "b2"), ("Relu",), ("Gemm", "W3", "b3")]
    if not flat:
        steps.insert(0, ("Flatten",))
    if uint8:
        steps[:0] = [("Cast",), ("Div", "white")]
    if softmax:
        steps.append(("Softmax",))
    results = ["images", *(f"result{number}" for number in range(1, len(steps))),
               "probabilities" if softmax else "logits"]
    return [
        onnx.helper.make_node(operation, [result, *constants], [next_result],
                              **({"to": onnx.TensorProto.FLOAT} if operation == "Cast" else {}))
        for (operation, *constants), result, next_result in zip(steps, results, results[1:])
    ]


def _constants(onnx, params, uint8):
    import numpy as np  # here, because --help does not need it

    arrays = {name: param.asnumpy() for name, param in zip(NAMES, params)}
    if uint8:
        arrays["white"] = np.array(255, np.float32)
    return [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]


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

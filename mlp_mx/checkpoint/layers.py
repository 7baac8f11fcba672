"""Which arrays of a file are the weights and biases of which layers, and which way round.

**Order.** Names that differ only in their numbers (``dense9_weight``, ``dense10_weight``;
``0.0.bias``, ``1.bias``) are put in the order of these numbers. Otherwise the file's order counts.

**Orientation.** The chapter's weights are (inputs, outputs), gluon's and PyTorch's are (outputs,
inputs). All weights of a network have the same orientation, and shapes fit together in one of the
two only, unless all weights are square. Then names decide: ``weight`` is (outputs, inputs), ``W``
and ``kernel`` are (inputs, outputs). Square weights with other names, or none, are refused.
"""

import re

import numpy as np

__all__ = ["NotLayersError", "found_in", "in_chapters_form", "names"]

NAME = re.compile(r"(?:(.*)[._/])?(weight|kernel|bias|[WwBb])_?([0-9]*)", re.DOTALL)
BIASES = ("bias", "b", "B")


class NotLayersError(ValueError):
    """The arrays are not weights and biases of layers that fit together; the message says why."""


def names(count):
    """Return the names of that many parameters: W1, b1, W2, b2, …"""
    return [f"{'Wb'[number % 2]}{number // 2 + 1}" for number in range(count)]


def in_chapters_form(arrays):
    """Bring the arrays of a file to the chapter's order, layout and float32.

    Parameters
    ----------
    arrays : dict of str or int to ndarray
        In the file's order; numbers are the places in a list.

    Returns
    -------
    params : list of ndarray, float32
        W1, b1, W2, b2, …; weights are (inputs, outputs), biases (outputs,).
    doubts : list of str
        What to warn the caller about.

    Raises
    ------
    NotLayersError
    """
    if not arrays or len(arrays) % 2:
        raise NotLayersError(f"{len(arrays)} arrays are not pairs of weights and biases")
    pairs, is_numbered, is_transposed = _pairs([*arrays])
    weights, biases = ([arrays[key] for key in keys] for keys in zip(*pairs))
    weights, sizes = _oriented(weights, biases, is_transposed)
    doubts = []
    if not is_numbered and not _has_one_order(sizes):
        order = ", ".join(str(weight) for weight, _ in pairs)
        doubts.append(f"no numbers in the names; the file's order of layers is used: {order}")
    params = []
    for (weight, bias), W, b in zip(pairs, weights, biases):
        params += [_as_float32(weight, W, doubts), _as_float32(bias, b.reshape(-1), doubts)]
    return params, doubts


def _oriented(weights, biases, is_transposed):
    """The weights as (inputs, outputs), and the sizes of the layers that they make."""
    if any(W.ndim != 2 for W in weights):
        raise NotLayersError("not every second array is a matrix of weights")
    turned = [W.T for W in weights]
    sizes, turned_sizes = _sizes(weights, biases), _sizes(turned, biases)
    if sizes and turned_sizes and is_transposed is None:
        raise NotLayersError(
            "all weights are square, so name them: W1, b1, … if they are (inputs, outputs), "
            "0.weight, 0.bias, … if they are (outputs, inputs)")
    if turned_sizes and (is_transposed or not sizes):
        return turned, turned_sizes
    if not sizes:
        raise NotLayersError("the shapes do not fit together")
    return weights, sizes


def _pairs(keys):
    """The keys of each layer's weight and bias, in order; what numbers and names tell.

    Returns
    -------
    pairs : list of (weight, bias)
    is_numbered : bool
        Whether numbers determine the order of all layers.
    is_transposed : bool or None
        Whether names say that weights are (outputs, inputs); None if they do not say.
    """
    layers, kinds = {}, set()
    for key in keys:
        match = NAME.fullmatch(str(key))
        if match:
            layer, kind, number = match.groups(default="")
            layers.setdefault(f"{layer}.{number}", {})[kind in BIASES] = key
            kinds.add(kind)
    kinds -= set(BIASES)
    if 2 * len(layers) == len(keys) and all(len(layer) == 2 for layer in layers.values()):
        order, is_numbered = _in_order([*layers])
        is_transposed = None if {"weight"} < kinds else kinds == {"weight"}
        return [(layers[name][False], layers[name][True]) for name in order], \
            is_numbered, is_transposed
    order, is_numbered = _in_order(keys)
    return list(zip(order[::2], order[1::2])), is_numbered, None


def _in_order(keys):
    """Sort keys that differ only in their numbers by these; leave the others where they are.

    Also return whether that determines the order of all keys.
    """
    groups = {}
    for place, key in enumerate(keys):
        # At most nine digits, because Python refuses to read thousands.
        parts = re.split("([0-9]{1,9})", str(key))
        words = tuple(filter(None, (word.strip("._/") for word in parts[::2])))
        groups.setdefault(words, []).append((tuple(map(int, parts[1::2])), place))
    order = list(keys)
    for group in groups.values():
        for (_, source), (_, place) in zip(sorted(group), group):
            order[place] = keys[source]
    different = {(words, number) for words in groups for number, _ in groups[words]}
    return order, len(groups) == 1 and len(different) == len(keys)


def _sizes(weights, biases):
    """The number of inputs and of each layer's units, or None if the shapes do not fit together."""
    sizes = [weights[0].shape[0]]
    for W, b in zip(weights, biases):
        if W.shape[0] != sizes[-1] or b.shape not in (W.shape[1:], (1, *W.shape[1:])):
            return None
        sizes.append(W.shape[1])
    return sizes if all(sizes) else None


def _has_one_order(sizes):
    """Whether layers of these sizes certainly fit together in only one order."""
    return all(sizes.count(size) == 1 or sizes.count(size) == 2
               and sizes[sizes.index(size) + 1] == size for size in sizes)


def _as_float32(key, array, doubts):
    if array.dtype.kind != "f":
        raise NotLayersError(f"{key} is {array.dtype}, not float32, float16 or float64")
    with np.errstate(over="ignore"):  # the caller looks for values that are not finite
        rounded = array.astype(np.float32, copy=False)
    if rounded is not array and (rounded != array).any():
        doubts.append(f"{key} is {array.dtype}: rounded to float32")
    return rounded


def found_in(arrays, most=12):
    """The names, shapes and dtypes of arrays, for messages."""
    texts = [f"{key} {array.shape}" + (f" {array.dtype}" if array.dtype != np.float32 else "")
             for key, array in arrays.items()]
    rest = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return ", ".join(texts[:most] + rest) or "no arrays"

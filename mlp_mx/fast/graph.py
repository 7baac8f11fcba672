"""Turn autograd's tape into a graph, and execute its operations in one call."""

import json

from ..runtime.lazy import mx, nd

__all__ = ["Graph", "Untraceable", "rewritten"]


class Untraceable(Exception):
    """A function that cannot be traced; the message says why."""


class Graph:
    """A graph as a function of a list of arrays, those at its `positions`.

    Parameters
    ----------
    text : str
        In MXNet's JSON; the variables are named by their positions in the list.
    is_recorded : bool
        Whether gradients will pass through it.
    size : int
        How many numbers the arrays have that are given for one call only.

    Attributes
    ----------
    positions : list of int
        Those of the arrays that it uses.
    num_arrays : int
        How long the list must be.
    calls, next_check : int
        How often it was executed, and when it is compared with its function again.
    """

    def __init__(self, text, is_recorded, size):
        symbol = mx.sym.load_json(text)
        self.positions = [int(name) for name in symbol.list_inputs()]
        self.num_arrays = 1 + max(self.positions, default=-1)
        # Without bulking, graphs on two CPU contexts run at the same time, as in evaluation.
        flag = ("static_shape", True) if is_recorded else ("forward_bulk_size", 1)
        self._op = nd.CachedOp(symbol, flags=[("static_alloc", True), flag])
        self.size, self.calls, self.next_check = size, 0, 10

    def is_due(self):
        """Whether its next call is the 10th, the 100th, …, which are compared."""
        return self.calls + 1 >= self.next_check

    def __call__(self, arrays):
        return self._op(*arrays)


def rewritten(tape, positions, shapes, transposed):
    """A tape as a graph whose variables are named by position, some of them given transposed.

    There, ``dot(X, W)`` and ``dot(X, W) + b`` are ``FullyConnected``; anything else that uses W
    gets it transposed back.

    Parameters
    ----------
    tape : dict
        A symbol's JSON.
    positions : dict
        The position of each variable of the tape, by its name.
    shapes : list of tuple
        Of the arrays, by position, as the function sees them.
    transposed : list of bool
        Whether the array at a position will be given as its transpose.

    Raises
    ------
    Untraceable
        If the tape has a variable without a position.
    """
    count = len(shapes)
    variables = range(count)
    nodes = [_node("null", f"{position}", []) for position in variables]
    nodes += [_node("transpose", f"{position}.T", [[position, 0, 0]]) for position in variables]
    packed = {position for position in variables if transposed[position]}
    users = [[] for _ in tape["nodes"]]
    for node in tape["nodes"]:
        for source, *_ in node["inputs"]:
            users[source].append(node["op"])
    for source, *_ in tape["heads"]:
        users[source].append("head")
    places = []  # of the tape's nodes in the graph
    for number, node in enumerate(tape["nodes"]):
        if node["op"] == "null":
            if node["name"] not in positions:
                raise Untraceable("uses an array that is not among its arguments and will not be "
                                  "trained")
            position = positions[node["name"]]
            places.append(position + count * transposed[position])
            continue
        inputs = [[places[source], *rest] for source, *rest in node["inputs"]]
        if (node["op"] == "Flatten" and inputs[0][0] < count and len(shapes[inputs[0][0]]) == 2
                and set(users[number]) == {"dot"}):
            places.append(inputs[0][0])  # flat already; the operation would copy it
            continue
        alone = [len(users[source]) == 1 for source, *_ in node["inputs"]]
        attrs = node.get("attrs", {})
        places.append(len(nodes))
        nodes.append(
            _product(node["op"], attrs, inputs, shapes)
            or _biased_product(node["op"], inputs, alone, nodes, shapes, packed)
            or _node(node["op"], f"node{number}", inputs, attrs))
    heads = [[places[source], *rest] for source, *rest in tape["heads"]]
    return json.dumps({"nodes": nodes, "arg_nodes": [*variables], "heads": heads,
                       "attrs": tape["attrs"]})


def _node(op, name, inputs, attrs=()):
    return {"op": op, "name": name, "inputs": inputs, "attrs": dict(attrs)}


def _product(op, attrs, inputs, shapes):
    """Replace ``dot(X, W)`` by ``FullyConnected``, if W is a variable given transposed."""
    if op != "dot" or attrs:
        return None
    X, (W, *_) = inputs
    position = W - len(shapes)
    if not 0 <= position < len(shapes) or len(shapes[position]) != 2:
        return None
    attrs = {"num_hidden": f"{shapes[position][1]}", "no_bias": "True", "flatten": "False"}
    return _node("FullyConnected", f"dot{position}", [X, [position, 0, 0]], attrs)


def _biased_product(op, inputs, alone, nodes, shapes, packed):
    """Replace the sum of a ``FullyConnected`` without a bias and a variable by one with a bias.

    Only that of a packed weight, whose gradient is computed in any case: without, oneDNN's gradient
    of the bias is wrong.
    """
    if op != "broadcast_add":
        return None
    for product, bias in (0, 1), (1, 0):
        node, position = nodes[inputs[product][0]], inputs[bias][0]
        if (node["op"] == "FullyConnected" and node["attrs"].get("no_bias") == "True"
                and node["inputs"][1][0] in packed and alone[product] and position < len(shapes)
                and f"{shapes[position]}" == f"({node['attrs']['num_hidden']},)"):
            return _node("FullyConnected", f"{node['name']}+{position}",
                         [*node["inputs"], inputs[bias]], {**node["attrs"], "no_bias": "False"})
    return None

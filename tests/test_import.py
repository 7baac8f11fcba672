"""Parameters that other programs have saved, read by `checkpoint.load`."""

import hashlib
import itertools
import struct
import warnings

import numpy as np
import pytest

from damage import damaged
from mlp_mx import checkpoint, model, predict
from mlp_mx.runtime import gluon, mx, nd

pytestmark = pytest.mark.filterwarnings("ignore:.*no checksum")
CPU, GPU = (struct.pack("<iii", device, 0, 0) for device in (1, 2))  # number 0, float32


def dense(*sizes, numbered_from=0):
    """A gluon network; all but its last layer have ReLU."""
    net = gluon.nn.HybridSequential()
    with net.name_scope():
        for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), numbered_from):
            activation = None if number == numbered_from + len(sizes) - 2 else "relu"
            net.add(gluon.nn.Dense(outputs, activation, in_units=inputs, prefix=f"dense{number}_"))
    net.initialize()
    random = np.random.RandomState(3)
    for param in net.collect_params().values():
        param.set_data(nd.array(random.normal(size=param.shape) / np.sqrt(param.shape[-1])))
    return net


def arrays_of(net):
    return {name: param.data() for name, param in net.collect_params().items()}


def assert_computes_the_same(path, net):
    params, metadata = checkpoint.load(path)
    assert metadata == {}
    X = nd.array(np.random.RandomState(4).uniform(size=(50, params[0].shape[0])))
    np.testing.assert_allclose(
        predict.relu_net(X, params).asnumpy(), net(X).asnumpy(), rtol=1e-5, atol=1e-5
    )


def save_exported(net, path):
    net.hybridize()
    net(nd.zeros((1, net[0].weight.shape[1])))
    net.export(str(path.with_suffix("")))
    path.with_name(f"{path.stem}-0000.params").rename(path)


def save_numpy_style(net, path):
    """As programs do that call ``mx.npx.set_np()``."""
    parameters = net._collect_params_with_prefix()
    with mx.util.np_shape(True):
        nd.save(str(path), {name: param.data() for name, param in parameters.items()})


def save_on_a_gpu(net, path):
    net.save_parameters(str(path))
    content = path.read_bytes()
    assert content[24:].count(CPU) == 6
    path.write_bytes(content[:24] + content[24:].replace(CPU, GPU))


@pytest.mark.parametrize("save", [
    lambda net, path: net.save_parameters(str(path)),
    lambda net, path: net.collect_params().save(str(path)),
    lambda net, path: net.collect_params().save(str(path), net.prefix),
    save_exported, save_numpy_style, save_on_a_gpu,
])
def test_load_reads_gluons_networks(tmp_path, save):
    net = dense(9, 9, 9, 9)  # no shape tells inputs from outputs
    save(net, tmp_path / "gluon.params")
    assert_computes_the_same(tmp_path / "gluon.params", net)


def test_load_orders_layers_by_number_and_not_by_place(tmp_path):
    path = tmp_path / "gluon.params"
    net = dense(6, 6, 6, 6, numbered_from=9)  # dense9, dense10, dense11
    arrays = arrays_of(net)
    for order in itertools.islice(itertools.permutations(arrays), 0, None, 97):
        nd.save(str(path), {name: arrays[name] for name in order})
        assert_computes_the_same(path, net)


def test_load_reads_the_chapters_own_arrays_with_a_warning(tmp_path):
    path = tmp_path / "chapter.params"
    params = model.init_params(num_inputs=7, num_hidden=7, num_outputs=7, seed=1)
    lower = dict(zip(["w1", "b1", "w2", "b2", "w3", "b3"], params))
    for arrays in dict(zip(checkpoint.names(6), params)), lower:
        nd.save(str(path), arrays)
        with pytest.warns(UserWarning, match="no checksum"):
            loaded, metadata = checkpoint.load(path)
        assert metadata == {} and all(param.grad is not None for param in loaded)
        assert all((a == b).asnumpy().all() for a, b in zip(loaded, params))


def in_layout(arrays, magic):
    """A ``.params`` file as MXNet wrote them before 1.0; no magic number: before 0.11."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        if magic:
            parts.append(struct.pack(f"<II{array.ndim}q", magic, array.ndim, *array.shape))
        else:
            parts.append(struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape))
        parts += [CPU, array.astype("<f4").tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name)), name.encode()]
    return b"".join(parts)


@pytest.mark.parametrize("magic", [0xF993FAC8, None])
def test_load_reads_the_layouts_of_2016_and_2017(tmp_path, magic):
    path, net = tmp_path / "old.params", dense(6, 5, 5, 3)
    arrays = {name: array.asnumpy() for name, array in arrays_of(net).items()}
    path.write_bytes(in_layout(arrays, magic))
    for name, array in nd.load(str(path)).items():  # MXNet knows them, too
        assert (array.asnumpy() == arrays[name]).all()
    assert_computes_the_same(path, net)


def test_load_reads_what_version_0_2_saved(tmp_path):
    """MXNet's format with metadata, and at its end the SHA-256 of all that precedes."""
    path, params = tmp_path / "model.params", model.init_params(num_hidden=3, seed=0)
    metadata = np.frombuffer(b'{"epoch": 3, "num_arrays": 6}', np.uint8)
    nd.save(str(path), {**dict(zip(checkpoint.names(6), params)),
                        "metadata": nd.array(metadata, dtype="uint8")})
    content = path.read_bytes()
    content += b"mlp_mx-sha256:" + hashlib.sha256(content).digest()
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded, metadata = checkpoint.load(path)
    assert metadata == {"epoch": 3}
    assert all((a == b).asnumpy().all() for a, b in zip(loaded, params))
    for place in range(30, len(content), len(content) // 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        with pytest.raises(checkpoint.CheckpointError, match="is damaged: "):
            checkpoint.load(path)


class Named(gluon.nn.HybridBlock):
    """A network whose layers are attributes."""

    def __init__(self, **sizes):
        super().__init__()
        inputs = 6
        for name, outputs in sizes.items():
            setattr(self, name, gluon.nn.Dense(outputs, in_units=inputs))
            inputs = outputs

    def forward(self, X):
        *hidden, output = self._children.values()
        for layer in hidden:
            X = nd.relu(layer(X))
        return output(X)


def initialized(net):
    """A network with random parameters."""
    net.initialize()
    random = np.random.RandomState(8)
    for param in net.collect_params().values():
        param.set_data(nd.array(random.normal(size=param.shape)))
    return net


def sequential(*layers):
    net = gluon.nn.HybridSequential()
    net.add(*layers)
    return net


def nested():
    Dense = gluon.nn.Dense
    first = sequential(Dense(6, "relu", in_units=6), Dense(6, "relu", in_units=6))
    return sequential(first, Dense(6, "relu", in_units=6), Dense(6, in_units=6))


@pytest.mark.parametrize("make", [
    nested, lambda: Named(hidden=5, output=3), lambda: Named(first=5, middle=5, last=3),
    lambda: Named(fc2=5, fc10=5, out=4),
])
@pytest.mark.parametrize("is_scrambled", [False, True])
def test_load_reads_nested_networks_and_names_of_ones_own(tmp_path, make, is_scrambled):
    path, net = tmp_path / "own.params", initialized(make())
    net.save_parameters(str(path))
    if is_scrambled:  # biases before weights
        nd.save(str(path), dict(sorted(nd.load(str(path)).items(), key=lambda item: (
            item[0].rpartition(".")[0], item[0].endswith("weight")))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            assert_computes_the_same(path, net)
        except checkpoint.CheckpointError as error:  # fc10 is before fc2, first is after last
            assert is_scrambled and "do not fit together" in str(error)
            assert "middle" in str(error)
    assert not any("file's order" in str(warning.message) for warning in caught)


def test_load_warns_if_only_the_files_order_tells_the_layers_order(tmp_path):
    path, net = tmp_path / "own.params", initialized(Named(a=6, b=6, c=6))
    net.save_parameters(str(path))
    with pytest.warns(UserWarning, match="layers is used: a.weight, b.weight, c.weight"):
        assert_computes_the_same(path, net)


@pytest.mark.parametrize("suffix, is_compressed", [
    (".params", False), (".npz", False), (".npz", True),
])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_load_reads_unnamed_lists_either_way_round(tmp_path, suffix, is_compressed, is_transposed):
    path, net = tmp_path / f"list{suffix}", dense(6, 5, 5, 5, 5, 5, 3)
    arrays = [array.asnumpy() for array in arrays_of(net).values()]  # more than ten
    if not is_transposed:
        arrays = [array.T for array in arrays]
    if suffix == ".params":
        nd.save(str(path), [nd.array(array) for array in arrays])
    else:
        (np.savez_compressed if is_compressed else np.savez)(path, *arrays)
    X = nd.array(np.random.RandomState(4).uniform(size=(50, 6)))
    np.testing.assert_allclose(
        predict.relu_net(X, checkpoint.load(path)[0]).asnumpy(), net(X).asnumpy(), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*the file's order")
@pytest.mark.parametrize("names, orientation", [
    ("W1 b1 W2 b2", "inputs first"), ("in/kernel in/bias out/kernel out/bias", "inputs first"),
    ("0.weight 0.bias 1.weight 1.bias", "outputs first"),
    ("weight1 bias1 weight2 bias2", "outputs first"),
    ("0.weight 0.bias 1.W 1.b", "unknown"), ("a b_ c d", "unknown"), ("", "unknown"),
])
def test_names_decide_the_orientation_of_square_weights_only(tmp_path, names, orientation):
    path, names, random = tmp_path / "model.npz", names.split(), np.random.RandomState(0)
    for sizes in ((4, 4, 4), (4, 5, 4)):
        shapes = [shape for inputs, outputs in zip(sizes, sizes[1:])
                  for shape in ((inputs, outputs), (outputs,))]
        params = [random.normal(size=shape).astype("f4") for shape in shapes]
        for arrays in (params, [param.T for param in params]):
            np.savez(path, *[] if names else arrays, **dict(zip(names, arrays)))
            if sizes == (4, 4, 4) and orientation == "unknown":
                with pytest.raises(checkpoint.CheckpointError, match="is not damaged, .* square"):
                    checkpoint.load(path)
                continue
            expected = params
            if sizes == (4, 4, 4):
                expected = arrays if orientation == "inputs first" else [a.T for a in arrays]
            found, _ = checkpoint.load(path)
            assert all((a.asnumpy() == b).all() for a, b in zip(found, expected))


@pytest.mark.parametrize("dtype, warning", [
    ("float16", None), ("float64", "W1 is float64: rounded to float32"), (">f4", None),
])
def test_load_casts_and_warns_where_that_loses_bits(tmp_path, dtype, warning):
    path = tmp_path / "model.npz"
    exact = dict(zip(checkpoint.names(4), (np.ones(s) for s in ((3, 2), (1, 2), (2, 2), (2,)))))
    arrays = {name: array.astype(dtype) for name, array in exact.items()}
    np.savez(path, **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # these numbers lose nothing
        params, _ = checkpoint.load(path)
    assert [param.shape for param in params] == [(3, 2), (2,), (2, 2), (2,)]
    arrays["W1"] = (arrays["W1"] / 3).astype(dtype)
    np.savez(path, **arrays)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params, _ = checkpoint.load(path)
    assert [str(one.message).split(": ", 1)[1] for one in caught] == [warning] * bool(warning)
    assert (params[0].asnumpy() == arrays["W1"].astype("f4")).all()


def test_load_reads_transposed_arrays_from_npz(tmp_path):
    """NumPy saves a transposed array, such as another library's weights, in Fortran's order."""
    net = dense(6, 5, 5, 3)
    arrays = [array.asnumpy().T for array in arrays_of(net).values()]
    assert np.isfortran(arrays[0])
    np.savez(tmp_path / "a.npz", **dict(zip(checkpoint.names(6), arrays)), metadata="{}")
    assert_computes_the_same(tmp_path / "a.npz", net)


def conv():
    layers = gluon.nn.Conv2D(4, 3, in_channels=1), gluon.nn.Dense(3, in_units=9)
    net = initialized(sequential(*layers))
    return {name: param.data() for name, param in net._collect_params_with_prefix().items()}


def three_lines(error):
    """Load parameters with the three lines of Python in a message."""
    names = {}
    exec(str(error.value).partition("; to load it by hand: ")[2].replace("; ", "\n"), names)
    return [param.asnumpy() for param in names["params"]]


INTEGERS = {f"{k}.{kind}": nd.ones(shape, dtype="int32") for k in range(9)
            for kind, shape in (("weight", (2, 2)), ("bias", 2))}
EVIL = {"a": nd.ones((3, 4)), "\x1b[2J\nb": nd.ones(3), "c": nd.ones((9, 3)), "d": nd.ones(2)}


@pytest.mark.parametrize("arrays, complaint", [
    (conv(), "not every second array is a matrix .*; found 0.weight .4, 1, 3, 3., 0.bias .4,., "),
    ([*conv().values()], "not every second .*; found 0 .4, 1, 3, 3., 1 .4,., 2 "),
    (dict(list(conv().items())[:3]), "3 arrays are not pairs"),
    ({}, "0 arrays are not pairs .*; found no arrays"),
    (EVIL, r"shapes do not fit .*; found a .3, 4., \\x1b\[2J b .3,., "),
    (INTEGERS, r"0.weight is int32, .*; found 0.weight .2, 2. int32, .* and 6 more; "),
], ids=["conv", "list", "three", "none", "evil", "int32"])
def test_load_says_what_other_networks_are_and_how_to_load_them(tmp_path, arrays, complaint):
    in_order = arrays.values() if isinstance(arrays, dict) else arrays
    expected = [array.asnumpy() for array in in_order]
    path = tmp_path / "it's.params"
    nd.save(str(path), arrays)
    refusal = pytest.raises(checkpoint.CheckpointError, match=f"not damaged, but .*{complaint}")
    with refusal as error:
        checkpoint.load(path)
    assert str(error.value).isprintable()
    found = three_lines(error)
    path = tmp_path / "it's.npz"
    np.savez(path, **{f"a{k}": array for k, array in enumerate(expected)}, metadata="{}")
    with pytest.raises(checkpoint.CheckpointError, match="not damaged, but .*; found .*") as error:
        checkpoint.load(path)
    for params in (found, three_lines(error)):
        assert len(params) == len(expected)
        assert all((a == b).all() for a, b in zip(params, expected))


def test_load_tells_damage_from_what_it_does_not_read(tmp_path):
    path = tmp_path / "x.params"
    nd.save(str(path), {"W1": nd.ones((2, 2)).tostype("row_sparse")})
    with pytest.raises(checkpoint.CheckpointError, match="not damaged, but .* sparse arrays"):
        checkpoint.load(path)
    nd.save(str(path), {"W1": nd.ones((2, 2)), "b1": nd.ones(2)})
    content = path.read_bytes()
    on_cpu = struct.pack("<qqii", 2, 2, 1, 0)  # shape and device; a type follows
    path.write_bytes(content.replace(on_cpu + struct.pack("<i", 0), on_cpu + struct.pack("<i", 12)))
    with pytest.raises(checkpoint.CheckpointError, match="not damaged, but .* type code 12"):
        checkpoint.load(path)  # bfloat16
    for damaged_content, reason in [
        (b"", "it begins with b'', unlike"), (b"<html>" * 9, "it begins with b'<html><h', unlike"),
        (content[:-1], "it ends too early"), (content + b"1", "does not end where"),
        (content.replace(b"b1", b"W1"), "has a name twice"),
        (content.replace(struct.pack("<qq", 2, 2), struct.pack("<qq", -2, -2)), "a negative size"),
        (content.replace(struct.pack("<I", 0xF993FAC9), struct.pack("<I", 99)), "unknown number"),
        (content[:16] + struct.pack("<Q", 10 ** 9) + content[24:], "at most 1000 arrays"),
    ]:
        path.write_bytes(damaged_content)
        refusal = f"is damaged: .*{reason}.*; use another"
        with pytest.raises(checkpoint.CheckpointError, match=refusal):
            checkpoint.load(path)


def test_damage_to_a_gluon_file_is_refused_or_changes_numbers_only(tmp_path):
    path = tmp_path / "gluon.params"
    dense(6, 5, 5, 3).save_parameters(str(path))
    content = path.read_bytes()
    expected, _ = checkpoint.load(path)
    for copy in damaged(content, 150, seed=5):
        path.write_bytes(copy)
        try:
            params, _ = checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            assert "\n" not in str(error)
        else:
            assert sum((a != b).sum().asscalar() for a, b in zip(params, expected)) <= 1

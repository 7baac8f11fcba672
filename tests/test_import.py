"""Parameters that other programs have saved with MXNet, read by `checkpoint.load`."""

import itertools
import struct

import numpy as np
import pytest

from damage import damaged
from mlp_mx import checkpoint, model
from mlp_mx.runtime import gluon, mx, nd

pytestmark = pytest.mark.filterwarnings("ignore:.*no SHA-256")
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
        model.net(X, params).asnumpy(), net(X).asnumpy(), rtol=1e-5, atol=1e-5
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
    for arrays in params, dict(zip(checkpoint.names(6), params)):
        nd.save(str(path), arrays)
        with pytest.warns(UserWarning, match="no SHA-256"):
            loaded, metadata = checkpoint.load(path)
        assert metadata == {}
        assert all((a == b).asnumpy().all() for a, b in zip(loaded, params))


def test_load_reads_transposed_arrays_from_npz(tmp_path):
    """NumPy saves a transposed array, such as another library's weights, in Fortran's order."""
    net = dense(6, 5, 5, 3)
    arrays = [array.asnumpy().T for array in arrays_of(net).values()]
    assert np.isfortran(arrays[0])
    np.savez(tmp_path / "a.npz", **dict(zip(checkpoint.names(6), arrays)), metadata="{}")
    assert_computes_the_same(tmp_path / "a.npz", net)


@pytest.mark.parametrize("names, complaint", [
    ("a0.weight a0.bias a1.weight a1.bias b.weight b.bias", "numbered layers, found a0.weight"),
    ("0.weight 0.bias 00.weight 00.bias 1.weight 1.bias", "numbered layers"),
    ("0.weight 1.weight 2.weight 3.weight 4.weight 5.weight", "weights and biases"),
    ("W1 b1 1.weight 1.bias 2.weight 2.bias", "expected arrays W1"),
    ("W1 b1 W2 b2 W3 arg:W3", "6 arrays for the names"),
    ("W1 b1 W2 b2 W3 b\n3", "W3, b 3; use another"),
    ("W1", "in pairs, found W1"),
    ("", "found none"),
    (None, "do not fit together"),  # a list, in gluon's layout
])
def test_load_refuses_other_networks(tmp_path, names, complaint):
    path = tmp_path / "other.params"
    arrays = list(arrays_of(dense(6, 5, 5, 3)).values())
    if names is not None:
        arrays = dict(zip(names.split(" ") if names else [], arrays))
    nd.save(str(path), arrays)
    with pytest.raises(checkpoint.CheckpointError, match=complaint) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


def test_load_refuses_float16(tmp_path):
    net = dense(6, 5, 5, 3)
    net.cast("float16")
    net.save_parameters(str(tmp_path / "half.params"))
    with pytest.raises(checkpoint.CheckpointError, match="W1 is float16, not float32"):
        checkpoint.load(tmp_path / "half.params")


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

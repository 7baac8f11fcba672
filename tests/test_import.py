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


def dense(*sizes, numbered_from=0, use_bias=True):
    """A gluon network, with biases too; all but its last layer have ReLU."""
    net = gluon.nn.HybridSequential()
    with net.name_scope():
        for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), numbered_from):
            activation = None if number == numbered_from + len(sizes) - 2 else "relu"
            net.add(gluon.nn.Dense(outputs, activation, use_bias, in_units=inputs,
                                   prefix=f"dense{number}_"))
    net.initialize()
    random = np.random.RandomState(3)
    for param in net.collect_params().values():
        param.set_data(nd.array(random.normal(size=param.shape) / np.sqrt(param.shape[-1])))
    return net


def arrays_of(net):
    return {name: param.data() for name, param in net.collect_params().items()}


def assert_computes_the_same(params, net):
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


SAVERS = {
    "save_parameters": lambda net, path: net.save_parameters(str(path)),
    "collect_params": lambda net, path: net.collect_params().save(str(path)),
    "strip_prefix": lambda net, path: net.collect_params().save(str(path), net.prefix),
    "export": save_exported,
    "set_np": save_numpy_style,
}


@pytest.mark.parametrize("saver", SAVERS)
def test_load_reads_gluons_networks(tmp_path, saver):
    path = tmp_path / "gluon.params"
    net = dense(9, 9, 9, 9)  # no shape tells inputs from outputs
    SAVERS[saver](net, path)
    params, metadata = checkpoint.load(path)
    assert metadata == {}
    assert_computes_the_same(params, net)


def test_load_orders_layers_by_number_and_not_by_place(tmp_path):
    path = tmp_path / "gluon.params"
    net = dense(6, 6, 6, 6, numbered_from=9)  # dense9, dense10, dense11
    arrays = arrays_of(net)
    for order in itertools.islice(itertools.permutations(arrays), 0, None, 97):
        nd.save(str(path), {name: arrays[name] for name in order})
        params, _ = checkpoint.load(path)
        assert_computes_the_same(params, net)


@pytest.mark.parametrize("named", [False, True])
def test_load_reads_the_chapters_own_arrays_with_a_warning(tmp_path, named):
    path = tmp_path / "chapter.params"
    params = model.init_params(num_inputs=7, num_hidden=7, num_outputs=7, seed=1)
    nd.save(str(path), dict(zip(checkpoint.names(6), params)) if named else params)
    with pytest.warns(UserWarning, match="no SHA-256"):
        loaded, metadata = checkpoint.load(path)
    assert metadata == {}
    assert all((a == b).asnumpy().all() for a, b in zip(loaded, params))


def test_load_reads_transposed_arrays_from_npz(tmp_path):
    """NumPy saves a transposed array, such as another library's weights, in Fortran's order."""
    path = tmp_path / "model.npz"
    net = dense(6, 5, 5, 3)
    arrays = [array.asnumpy().T for array in arrays_of(net).values()]
    assert np.isfortran(arrays[0])
    np.savez(path, **dict(zip(checkpoint.names(6), arrays)), metadata="{}")
    params, _ = checkpoint.load(path)
    assert_computes_the_same(params, net)


def test_load_reads_what_was_saved_on_a_gpu(tmp_path):
    path = tmp_path / "gpu.params"
    net = dense(6, 5, 5, 3)
    net.save_parameters(str(path))
    content = path.read_bytes()
    header, arrays = content[:24], content[24:]
    assert arrays.count(CPU) == 6
    path.write_bytes(header + arrays.replace(CPU, GPU))
    params, _ = checkpoint.load(path)
    assert_computes_the_same(params, net)


def named(*names):
    """Write the six arrays of a network under these names."""
    return lambda path: nd.save(str(path), dict(zip(names, arrays_of(dense(6, 5, 5, 3)).values())))


def cast(path):
    net = dense(6, 5, 5, 3)
    net.cast("float16")
    net.save_parameters(str(path))


OTHERS = {
    "no biases": (lambda path: dense(6, 5, 5, 3, use_bias=False).save_parameters(str(path)),
                  "weights and biases"),
    "float16": (cast, "W1 is float16, not float32"),
    "gluon's layout in a list": (
        lambda path: nd.save(str(path), [*arrays_of(dense(6, 5, 5, 3)).values()]),
        "do not fit together"),
    "other words": (named("a0.weight", "a0.bias", "a1.weight", "a1.bias", "b.weight", "b.bias"),
                    "numbered layers, found a0.weight"),
    "the same number": (named("0.weight", "0.bias", "00.weight", "00.bias", "1.weight", "1.bias"),
                        "numbered layers"),
    "both styles": (named("W1", "b1", "1.weight", "1.bias", "2.weight", "2.bias"),
                    "expected arrays W1"),
    "a name twice": (named("W1", "b1", "W2", "b2", "W3", "arg:W3"), "6 arrays for the names"),
    "no network": (lambda path: nd.save(str(path), [nd.zeros((2, 2))]), "in pairs, found W1"),
    "two lines": (named("W1", "b1", "W2", "b2", "W3", "b\n3"), "W3, b 3; use another"),
    "nothing": (lambda path: nd.save(str(path), []), "found none"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_load_refuses_other_networks(tmp_path, other):
    path = tmp_path / "other.params"
    write, complaint = OTHERS[other]
    write(path)
    with pytest.raises(checkpoint.CheckpointError, match=complaint) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


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

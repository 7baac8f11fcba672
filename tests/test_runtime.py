"""Making MXNet load: mostly in processes of their own, since it loads once."""

import importlib.metadata
import re
import sys
import types

import pytest

from mlp_mx import InputError, runtime
from mlp_mx.runtime import __main__ as runtime_command
from mlp_mx.runtime import cuda
from mlp_mx.runtime import mx

BLAS = "from mlp_mx.runtime import __main__; print(__main__.describe()['BLAS'])"
# Names the kernel of the OpenBLAS that NumPy carries, whatever NumPy's build calls its symbols.
NUMPY_KERNEL = """
import ctypes, glob, os, numpy
library, = glob.glob(os.path.dirname(numpy.__file__) + ".libs/*openblas*.so*")
for name in ("openblas_get_corename64_", "scipy_openblas_get_corename64_", "openblas_get_corename"):
    function = getattr(ctypes.CDLL(library), name, None)
    if function:
        function.restype = ctypes.c_char_p
        print(function().decode())
"""


def test_blas_kernel_suits_the_cpu():
    assert runtime.blas_kernel({"sse3", "avx", "avx2", "fma"}) == "Haswell"
    assert runtime.blas_kernel({"sse3", "avx", "avx2"}) is None
    assert runtime.blas_kernel(set()) is None


def test_cpu_features_of_a_system_without_them(tmp_path):
    assert runtime.cpu_features(tmp_path / "absent") == frozenset()
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd\n")
    assert runtime.cpu_features(tmp_path / "arm") == frozenset()
    (tmp_path / "x86").write_text("processor : 0\nflags\t\t: fpu avx2 fma\nbugs : x\n")
    assert runtime.cpu_features(tmp_path / "x86") == {"fpu", "avx2", "fma"}


@pytest.mark.skipif(runtime.blas_kernel() is None, reason="no kernel to choose on this CPU")
def test_load_chooses_the_kernel_for_mxnet_alone(python):
    code = ("import os; before = dict(os.environ); from mlp_mx import runtime\n"
            "print(__main__.describe()['BLAS']); assert os.environ == before\n")
    result = python("-c", code + NUMPY_KERNEL, MLP_MX_BLAS="openblas")
    assert result.stderr == ""
    of_mxnet, of_numpy = result.stdout.splitlines()
    assert "Haswell" in of_mxnet
    assert of_numpy == python("-c", NUMPY_KERNEL).stdout.strip()


@pytest.mark.skipif(runtime.blas_kernel() is None, reason="no kernel to choose on this CPU")
def test_load_leaves_the_users_kernel_alone(python):
    choice = {"OPENBLAS_CORETYPE": "Sandybridge", "MLP_MX_BLAS": "openblas"}
    assert "Sandybridge" in python("-c", BLAS, **choice).stdout


def test_importing_the_package_loads_nothing_heavy(python):
    code = "import mlp_mx, sys; print({'numpy', 'mxnet', 'matplotlib'} & set(sys.modules))"
    assert python("-c", code).stdout == "set()\n"


def test_importing_any_module_shows_no_warning(python):
    code = "import mlp_mx.train, mlp_mx.runtime, sys; print('mxnet' in sys.modules)"
    result = python("-W", "always", "-c", code)
    assert (result.stdout, result.stderr) == ("True\n", "")


LOAD_ERRORS = [
    ("raise ModuleNotFoundError(name='mxnet')", "pip install mxnet==1.9.1"),
    ("raise ModuleNotFoundError(name='distutils')", "pip install setuptools"),
    ("raise OSError('libquadmath.so.0: cannot open shared object file: No such file')",
     "libquadmath.so.0 is missing; .* apt-get install libgomp1 libquadmath0"),
    ("raise OSError('libcuda.so.1: cannot open shared object file: No such file')",
     "NVIDIA's driver is not installed .* for the CPU, run: pip install --force-reinstall"),
    ("raise OSError('libcudnn.so.8: cannot open shared object file: No such file')",
     "CUDA's libcudnn.so.8 is missing.*; run: pip install 'mlp_mx.cu117.'"),
    ("raise OSError('libgomp.so.1: cannot open shared object file: No such file')",
     "libgomp.so.1 is missing; .* apt-get install"),
    ("raise RuntimeError('something else')", "RuntimeError: something else"),
    ("import numpy; numpy.__version__ = '2.1.0'; numpy.removed_in_2", "pip install 'numpy<2'"),
    ("import sys; sys.version_info = (3, 13); raise ImportError", "Python 3.9 to 3.12"),
]


@pytest.mark.parametrize("code, mend", LOAD_ERRORS)
def test_load_says_what_is_wrong_and_what_mends_it(python, tmp_path, code, mend):
    (tmp_path / "mxnet.py").write_text(code)  # found first, in the place of the real one
    repository = runtime.__file__.rsplit("mlp_mx", 1)[0]
    paths = {"PYTHONPATH": f"{tmp_path}:{repository}"}
    command = python("-m", "mlp_mx.train", **paths)
    assert command.returncode == 1
    assert command.stdout == ""
    assert command.stderr.startswith("error: MXNet cannot be loaded: ")
    assert command.stderr.count("\n") == 1
    assert re.search(mend, command.stderr)
    library = python("-c", "import mlp_mx.model", **paths)
    assert "MXNetLoadError: MXNet cannot be loaded: " in library.stderr
    report = python("-m", "mlp_mx.runtime", **paths)
    assert report.returncode == 0
    assert "MXNet cannot be loaded: " in report.stdout


def test_context_of_the_cpu():
    assert runtime.context("cpu") == runtime.context("cpu:0") == mx.cpu()
    assert runtime.context("cpu:1") == mx.cpu(1)


def test_contexts_are_several_and_different():
    assert runtime.contexts("cpu:1,cpu") == [mx.cpu(1), mx.cpu(0)]
    with pytest.raises(InputError, match=r"each device once, found cpu\(0\) more than once"):
        runtime.contexts("cpu:0,cpu:1,cpu")
    with pytest.raises(InputError, match="found ''"):
        runtime.contexts("cpu,")


@pytest.mark.parametrize("name", ["gpu:1:2", "tpu", "", "gpu:", "gpu:-1", "cpu\n", "gpu:1x"])
def test_context_refuses_an_unknown_name(name):
    with pytest.raises(InputError, match="expected a context 'auto', 'cpu', 'cpu:N', 'gpu' or"):
        runtime.context(name)


def gpu_wheel():
    """MXNet as its GPU wheel has it."""
    features = types.SimpleNamespace(is_enabled=lambda name: True)
    return types.SimpleNamespace(
        cpu=mx.cpu, gpu=mx.gpu, runtime=types.SimpleNamespace(Features=lambda: features))


def test_context_with_two_gpus(monkeypatch):
    monkeypatch.setattr(runtime, "load", lambda: gpu_wheel())
    monkeypatch.setattr(cuda, "cards", lambda: [cuda.Card("A100", (8, 0)), cuda.Card("A2", (8, 6))])
    assert runtime.context("auto") == runtime.context("gpu") == mx.gpu(0)
    assert runtime.context("gpu:1") == mx.gpu(1)
    assert runtime.context("cpu") == mx.cpu()
    with pytest.raises(InputError, match="'gpu:2' needs a GPU that .* use: gpu:0 is A100 of"):
        runtime.context("gpu:2")


def test_context_with_a_card_that_is_too_new(monkeypatch):
    monkeypatch.setattr(runtime, "load", lambda: gpu_wheel())
    cards = [cuda.Card("NVIDIA H200", (9, 0))]
    monkeypatch.setattr(cuda, "cards", lambda: cards)
    assert runtime.context("auto") == mx.cpu()
    with pytest.raises(InputError, match="gpu:0 is NVIDIA H200 of compute capability 9.0, and "):
        runtime.context("gpu")
    cards.append(cuda.Card("NVIDIA L4", (8, 9)))
    assert runtime.context("auto") == runtime.context("gpu:1") == mx.gpu(1)
    cards.clear()
    with pytest.raises(InputError, match="the driver knows of no card; use --ctx cpu"):
        runtime.context("gpu")


@pytest.mark.skipif(mx.runtime.Features().is_enabled("CUDA"), reason="this is the GPU wheel")
def test_context_of_a_gpu_with_the_cpu_wheel():
    assert runtime.context("auto") == mx.cpu()
    with pytest.raises(InputError, match="CPU wheel.*mxnet-cu117"):
        runtime.context("gpu")


def test_runtime_command_prints_what_a_bug_report_needs(capsys, mnist_dir):
    assert runtime_command.main([]) == 0
    printed = capsys.readouterr().out
    for part in ("1.9.1", sys.version.split()[0], "NumPy", "Matplotlib", "BLAS", "CPU",
                 str(mnist_dir), "t10k-labels-idx1-ubyte.gz:"):
        assert part in printed
    assert printed.count("verified") == 4


def test_load_prefers_mkl_where_it_is_installed(python):
    assert "OpenBLAS" in python("-c", BLAS, MLP_MX_BLAS="openblas").stdout
    try:
        importlib.metadata.files("mkl")
    except importlib.metadata.PackageNotFoundError:
        assert "OpenBLAS" in python("-c", BLAS).stdout
    else:
        assert "Math Kernel Library" in python("-c", BLAS).stdout


@pytest.mark.parametrize("record", ["libmkl_rt.so.9,,", "elsewhere.py,,", ""])
def test_load_does_without_an_mkl_that_does_not_load(python, tmp_path, record):
    info = tmp_path / "mkl-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mkl\nVersion: 1.0\n")
    (info / "RECORD").write_text(record)
    (tmp_path / "libmkl_rt.so.9").write_text("no library")
    repository = runtime.__file__.rsplit("mlp_mx", 1)[0]
    result = python("-c", BLAS, PYTHONPATH=f"{tmp_path}:{repository}")
    assert "OpenBLAS" in result.stdout and result.stderr == ""


def test_load_refuses_an_unknown_blas(python):
    result = python("-m", "mlp_mx.train", MLP_MX_BLAS="atlas")
    assert result.returncode == 2
    assert result.stderr == "error: MLP_MX_BLAS: expected 'mkl' or 'openblas', found 'atlas'\n"

"""Making MXNet load: mostly in processes of their own, since it loads once."""

import importlib.metadata
import re
import sys
import types

import pytest

from mlp_mx import InputError, runtime
from mlp_mx.runtime import __main__ as runtime_command
from mlp_mx.runtime import cuda, diagnosis
from mlp_mx.runtime import mx

REPOSITORY = runtime.__file__.rsplit("mlp_mx", 1)[0]
BLAS = "from mlp_mx.runtime import __main__; print(__main__.describe()['BLAS'])"
# What a command does that needs MXNet.
LOAD = """
import sys
from mlp_mx import runtime
from mlp_mx._support import cli
code = cli.command(lambda argv: runtime.load() and None)([])
if code:
    sys.exit(code)
"""
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
    code = ("import os; before = dict(os.environ); from mlp_mx.runtime import __main__\n"
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
    assert (result.stdout, result.stderr) == ("False\n", "")


LOAD_ERRORS = [
    ("raise ModuleNotFoundError(name='mxnet')",
     r"not installed \(.*\); run: pip install --no-deps mxnet="),
    ("import package_of_mxnet", "the package package_of_mxnet is not installed; run: pip install"),
    ("raise OSError('libcuda.so.1: cannot open shared object file: No such file')",
     "NVIDIA's driver is not installed .* for the CPU, run: pip install --force-reinstall"),
    ("raise OSError('libcudnn.so.8: cannot open shared object file: No such file')",
     "CUDA's libcudnn.so.8 is missing.*; run: pip install '.*cu117"),
    ("raise OSError('libstdc++.so.9: cannot open shared object file: No such file')",
     r"the system library libstdc\+\+.so.9 is missing"),
    ("raise RuntimeError('something\\nelse')", "RuntimeError: something else"),
    ("import sys; sys.modules['numpy'].__version__ = '0.9'; raise AttributeError",
     "NumPy 0.9 is loaded, and .* has been installed since; restart the kernel"),
]


@pytest.mark.parametrize("code, mend", LOAD_ERRORS)
def test_load_says_what_is_wrong_and_what_mends_it(python, tmp_path, code, mend):
    (tmp_path / "mxnet.py").write_text(code)  # found first, in the place of the real one
    paths = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = python("-c", LOAD, **paths)
    assert command.returncode == 1
    assert command.stdout == ""
    assert command.stderr.startswith("error: MXNet cannot be loaded: ")
    assert command.stderr.count("\n") == 1
    assert re.search(mend, command.stderr)
    report = python("-m", "mlp_mx.runtime", **paths)
    assert report.returncode == 0
    assert "MXNet cannot be loaded: " in report.stdout


def test_importing_from_runtime_says_what_is_wrong(python, tmp_path):
    (tmp_path / "mxnet.py").write_text("raise ModuleNotFoundError(name='mxnet')")
    result = python("-c", "from mlp_mx.runtime import mx", PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert "MXNetLoadError: MXNet cannot be loaded: it is not installed (" in result.stderr


MISSING = OSError("libgomp.so.1: cannot open shared object file: No such file or directory")


@pytest.mark.parametrize("user, command", [
    (0, "run: apt-get update && apt-get install -y libgomp1 libquadmath0"),
    (1000, "run: sudo sh -c 'apt-get update && apt-get install -y libgomp1 libquadmath0'"),
])
def test_explain_installs_all_libraries_that_are_missing(monkeypatch, user, command):
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(diagnosis, "_loads", lambda library: False)
    monkeypatch.setattr(diagnosis.os, "geteuid", lambda: user)
    explanation = diagnosis.explain(MISSING)
    assert explanation.endswith(command)
    assert "libraries libgomp.so.1, libquadmath.so.0 are missing" in explanation


def test_explain_on_arm_names_what_arms_wheel_needs(monkeypatch):
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(diagnosis, "_loads", lambda library: library != "libamath.so")
    monkeypatch.setattr(diagnosis.os, "geteuid", lambda: 0)
    explanation = diagnosis.explain(OSError(str(MISSING).replace("libgomp.so.1", "libamath.so")))
    assert explanation.startswith("the system library libamath.so is missing; ")
    assert "libquadmath" not in explanation
    for library in ("libarmpl_lp64_mp.so", "libamath.so", "libastring.so"):
        assert f"{library}" in explanation.split("apt-get update && ")[1]


def test_explain_makes_an_environment_where_pip_refuses(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(diagnosis.sys, "prefix", diagnosis.sys.base_prefix)
    missing = ModuleNotFoundError(name="mxnet")
    assert diagnosis.explain(missing).endswith("run: pip install --no-deps mxnet==1.9.1")
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert diagnosis.explain(missing).endswith(
        "run: python3 -m venv ~/mlp_mx && . ~/mlp_mx/bin/activate && pip install . && "
        "pip install --no-deps mxnet==1.9.1")


WITHOUT = """
import importlib.machinery, runpy, sys
find = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
sys.argv = ["runtime"]
runpy.run_module("mlp_mx.runtime", run_name="__main__")
"""


@pytest.mark.parametrize("blocked, found", [
    (["numpy", "mxnet"], "NumPy is not installed; run: pip install ."),
    (["mxnet"], "run: pip install --no-deps mxnet==1.9.1\n"),
    (["graphviz", "matplotlib", "pooch", "PIL", "tqdm"], "1.9.1, CPU wheel"),
    (["numpy", "mxnet", "graphviz", "matplotlib", "pooch", "PIL", "requests", "tqdm"],
     "NumPy is not installed; run: pip install ."),
])
def test_runtime_command_reports_without_packages(python, blocked, found):
    result = python("-c", WITHOUT.format(blocked=blocked))
    assert result.stderr == "" and result.returncode == 0
    assert re.search(f"^MXNet: .*{re.escape(found)}", result.stdout, re.MULTILINE)


ABORTS = [
    ({"OMP_NUM_THREADS": "abc"}, "OMP_NUM_THREADS: MXNet expects a whole number, found 'abc'"),
    ({"OMP_NUM_THREADS": "2,1"}, "OMP_NUM_THREADS: MXNet expects a whole number, found '2,1'"),
    ({"MXNET_CPU_WORKER_NTHREADS": "1.5"}, "MXNET_CPU_WORKER_NTHREADS: MXNet expects a whole"),
    ({"DMLC_ROLE": "worker"}, "DMLC_ROLE is 'worker', .* but DMLC_PS_ROOT_URI is not set; use "),
    ({"DMLC_ROLE": "server", "DMLC_PS_ROOT_URI": "127.0.0.1"}, "DMLC_PS_ROOT_PORT is not set"),
    ({"DMLC_ROLE": ""}, "DMLC_ROLE is '', .* run: unset DMLC_ROLE"),
]


@pytest.mark.parametrize("environment, message", ABORTS)
def test_load_refuses_an_environment_in_which_mxnet_aborts(python, environment, message):
    result = python("-c", LOAD, **environment)
    assert result.returncode == 2 and result.stdout == ""
    assert re.search("^error: .*" + message, result.stderr, re.MULTILINE)
    assert len([line for line in result.stderr.splitlines() if "libgomp" not in line]) == 1


@pytest.mark.parametrize("threads", ["1", " 2", ""])
def test_load_takes_whole_numbers_of_threads(python, threads):
    result = python("-c", LOAD + "print(runtime.mx.nd.ones(3).sum().asscalar())",
                    OMP_NUM_THREADS=threads)
    assert (result.stdout, result.returncode) == ("3.0\n", 0)


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
    result = python("-c", BLAS, PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert "OpenBLAS" in result.stdout and result.stderr == ""


def test_load_refuses_an_unknown_blas(python):
    result = python("-c", LOAD, MLP_MX_BLAS="atlas")
    assert result.returncode == 2
    assert result.stderr == "error: MLP_MX_BLAS: expected 'mkl' or 'openblas', found 'atlas'\n"

"""Loading MXNet, the messages where it does not load, and contexts."""

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types

import pytest

from mlp_mx import Error, InputError, runtime
from mlp_mx.runtime import __main__ as runtime_command
from mlp_mx.runtime import blas, cuda, diagnosis, environment, imports, mx

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
load = runtime.load.__wrapped__  # again and again


def test_blas_kernel_suits_the_cpu(tmp_path):
    assert runtime.blas_kernel({"sse3", "avx", "avx2", "fma"}) == "Haswell"
    assert runtime.blas_kernel({"sse3", "avx", "avx2"}) is None
    assert runtime.cpu_features(tmp_path / "absent") == frozenset()
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd\n")
    assert runtime.cpu_features(tmp_path / "arm") == frozenset()
    (tmp_path / "x86").write_text("processor : 0\nflags\t\t: fpu avx2 fma\nbugs : x\n")
    assert runtime.cpu_features(tmp_path / "x86") == {"fpu", "avx2", "fma"}


@pytest.fixture
def importing(monkeypatch):
    """Give the module ``mxnet`` results: ``importing(*results)``; returns the kernels it saw."""

    def replace(*results):
        results, kernels = list(results), []

        def exec_module(loader, module):
            kernels.append(os.environ.get("OPENBLAS_CORETYPE"))
            result = results.pop(0)
            if isinstance(result, Exception):
                raise result
            module.result = result
            time.sleep(0.02)

        monkeypatch.setattr(imports._Loader, "exec_module", exec_module)
        monkeypatch.setattr(imports, "_forget_submodules", lambda: None)  # the other tests' MXNet
        monkeypatch.setitem(sys.modules, "mxnet", mx)
        del sys.modules["mxnet"]
        return kernels

    return replace


def test_load_sets_the_kernel_for_a_moment_and_leaves_the_users_alone(importing, monkeypatch):
    kernels = importing("loaded", OSError("broken"), "loaded")
    monkeypatch.setattr(blas, "blas_kernel", lambda: "Haswell")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert load().result == "loaded"
    for _ in range(2):
        sys.modules.pop("mxnet", None)
        if len(kernels) == 1:
            with pytest.raises(runtime.MXNetLoadError):
                load()
            assert "OPENBLAS_CORETYPE" not in os.environ
            monkeypatch.setenv("OPENBLAS_CORETYPE", "Sandybridge")
        else:
            load()
    assert kernels == ["Haswell", "Haswell", "Sandybridge"]


def test_load_in_several_threads_is_one_after_the_other(importing):
    importing("loaded")  # a second result is not there
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = [future.result() for future in [pool.submit(load) for _ in range(3)]]
    assert {module.result for module in found} == {"loaded"}


def test_importing_modules_loads_nothing_heavy_and_shows_no_warning(python):
    code = ("import mlp_mx.runtime.__main__, mlp_mx.runtime.removed, sys\n"
            "print({'numpy', 'mxnet', 'matplotlib', 'importlib.metadata'} & set(sys.modules))\n"
            "import mlp_mx.train; print('mxnet' in sys.modules)")
    result = python("-W", "always", "-c", code)
    assert (result.stdout, result.stderr) == ("set()\nFalse\n", "")


def missing(library):
    return OSError(f"{library}: cannot open shared object file: No such file or directory")


@pytest.mark.parametrize("error, message", [
    (ModuleNotFoundError(name="mxnet"), r"not installed \(.*\); run: pip install --no-deps mxnet="),
    (ModuleNotFoundError(name="requests"), "package requests is not installed; run: pip install ."),
    (missing("libcuda.so.1"), "NVIDIA's driver is not installed .* for the CPU, run: pip install "
                              "--force-reinstall"),
    (missing("libcudnn.so.8"), "GPU wheel needs CUDA's libcudnn.so.8; run: pip install '.*cu117"),
    (missing("libstdc++.so.9"), r"the system library libstdc\+\+.so.9 is missing$"),
    (RuntimeError("something\nelse"), "RuntimeError: something else"),
])
def test_load_says_what_is_wrong_and_what_fixes_it(importing, monkeypatch, error, message):
    importing(error, error)
    with pytest.raises(runtime.MXNetLoadError, match=f"MXNet cannot be loaded: .*{message}"):
        load()
    monkeypatch.setattr(sys.modules["numpy"], "__version__", "0.9")  # replaced on the disk since
    with pytest.raises(runtime.MXNetLoadError, match="NumPy 0.9 is loaded, and .* restart the ker"):
        load()


def test_load_finds_the_libraries_of_the_gpu_wheel(importing, monkeypatch):
    monkeypatch.setattr(cuda, "load_libraries", lambda: ["libcudart.so.11.0"])
    importing(missing("libcudart.so.11.0"), "loaded")
    assert load().result == "loaded"


APT = "apt-get update && apt-get install -y libgomp1 libquadmath0"


@pytest.mark.parametrize("user, machine, library, command", [
    (0, "x86_64", "libgomp.so.1", f"run: {APT}"),
    (9, "x86_64", "libquadmath.so.0", f"run: sudo sh -c '{APT}'"),
    (0, "aarch64", "libamath.so", "ln -sf libm.so.6 libastring.so"),
])
def test_explain_installs_the_systems_libraries(monkeypatch, user, machine, library, command):
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: machine)
    monkeypatch.setattr(diagnosis.os, "geteuid", lambda: user)
    explanation = diagnosis.explain(missing(library))
    assert explanation.startswith(f"the system library {library} is missing; on Debian")
    assert explanation.endswith(command)


def test_pip_makes_an_environment_where_it_may_not_change_the_systems(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(diagnosis.sys, "prefix", diagnosis.sys.base_prefix)
    monkeypatch.setattr(diagnosis.os, "geteuid", lambda: 9)
    modules = {"pip", "ensurepip"}
    monkeypatch.setattr(diagnosis.importlib.util, "find_spec", lambda name: name in modules)
    assert diagnosis.pip(diagnosis.INSTALL) == "pip install --no-deps mxnet==1.9.1"
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    venv = "python3 -m venv .venv && . .venv/bin/activate && pip install ."
    assert diagnosis.pip("pip install .") == venv
    assert diagnosis.pip(diagnosis.INSTALL) == f"{venv} && pip install --no-deps mxnet==1.9.1"
    (tmp_path / "EXTERNALLY-MANAGED").unlink()
    modules.clear()  # as on a fresh Debian
    assert diagnosis.pip("pip install . && x") == (
        f"sudo sh -c 'apt-get update && apt-get install -y python3-venv' && {venv} && x")


def test_a_machine_with_nothing_installed_gets_one_line_and_one_command(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    ends = {}
    for command in "train", "runtime":
        ends[command] = subprocess.run(
            [tmp_path / "bin" / "python", "-m", f"mlp_mx.{command}"], capture_output=True,
            text=True, env={**os.environ, "PYTHONPATH": REPOSITORY})
    line = "pip install . && pip install --no-deps mxnet==1.9.1\n"
    assert ends["train"].stderr == f"error: the package numpy is not installed; run: {line}"
    assert (ends["train"].stdout, ends["train"].returncode) == ("", 1)
    report = ends["runtime"].stdout
    assert report.count("pip install .") == 1 and line in report
    assert re.search("^NumPy: +not installed$", report, re.M) and ends["runtime"].returncode == 0


OTHERS = ["graphviz", "matplotlib", "PIL", "tqdm"]


@pytest.mark.parametrize("missing, found", [
    (["mxnet"], "run: pip install --no-deps mxnet==1.9.1\n"),
    (["numpy", "mxnet", "requests", *OTHERS],
     "package numpy is not installed; run: pip install .\n"),
    pytest.param(OTHERS, "1.9.1, CPU wheel", marks=pytest.mark.slow),
])
def test_runtime_command_reports_without_packages(python, tmp_path, missing, found):
    for name in missing:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    result = python("-m", "mlp_mx.runtime", PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert result.stderr == "" and result.returncode == 0
    assert re.search(f"^MXNet: .*{re.escape(found)}", result.stdout, re.MULTILINE)


def test_running_old_code_says_that_mxnet_is_not_installed(python):
    result = python("-S", "-m", "mlp_mx.runtime", "-c", "print(1)", PYTHONPATH=str(REPOSITORY))
    assert (result.returncode, result.stdout) == (0, "1\n")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("warning: MXNet cannot be loaded: it is not installed (")
    assert "install --no-deps mxnet==1.9.1" in result.stderr


def test_importing_from_runtime_says_what_is_wrong(python, tmp_path):
    (tmp_path / "mxnet.py").write_text(
        "import os, sys; print('numpy' in sys.modules, os.environ.get('OPENBLAS_CORETYPE'))\n"
        "raise ModuleNotFoundError(name='mxnet')")
    result = python("-c", "from mlp_mx.runtime import mx", PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert result.stdout == f"True {runtime.blas_kernel()}\n"  # NumPy, then the kernel, then MXNet
    assert "MXNetLoadError: MXNet cannot be loaded: it is not installed (" in result.stderr


JOB = {"DMLC_ROLE": "worker", "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": "9",
       "DMLC_NUM_WORKER": "1", "DMLC_NUM_SERVER": "1"}


@pytest.mark.parametrize("environment, message", [
    ({"OMP_NUM_THREADS": "abc"}, "OMP_NUM_THREADS: .* whole number of at least 1, found 'a"),
    ({"OMP_NUM_THREADS": "2,1"}, "found '2,1'; change it, or run: unset OMP_NUM_THREADS"),
    ({"MXNET_CPU_WORKER_NTHREADS": "0"}, "MXNET_CPU_WORKER_NTHREADS: .* at least 1, found '0'"),
    ({"MXNET_CPU_WORKER_NTHREADS": "1.5"}, "MXNET_CPU_WORKER_NTHREADS: MXNet expects a whole"),
    ({"DMLC_ROLE": "worker"}, "DMLC_ROLE is 'worker', .* but DMLC_PS_ROOT_URI is not set; use "),
    ({"DMLC_ROLE": "server", "DMLC_PS_ROOT_URI": "127.0.0.1"}, "DMLC_PS_ROOT_PORT is not set"),
    ({"DMLC_ROLE": ""}, "DMLC_ROLE: expected scheduler, server, worker, found ''; .*: unset DMLC"),
    ({**JOB, "DMLC_ROLE": "foo"}, "found 'foo'; use python -m mlp_mx.launch, or, outside a job"),
    ({**JOB, "DMLC_PS_ROOT_PORT": "abc"}, "DMLC_PS_ROOT_PORT: .* from 1 to 65535, found 'abc'"),
    ({**JOB, "DMLC_PS_ROOT_PORT": "65536"}, "found '65536'"),
    ({**JOB, "DMLC_NUM_WORKER": "0"}, "DMLC_NUM_WORKER: expected a whole number from 1"),
    ({**JOB, "DMLC_NUM_SERVER": ""}, "DMLC_NUM_SERVER is not set"),
    ({"OMP_NUM_THREADS": "16"}, None),
    ({"OMP_NUM_THREADS": " 2", "MXNET_CPU_WORKER_NTHREADS": ""}, None),
])
def test_load_refuses_an_environment_in_which_mxnet_aborts(
    importing, monkeypatch, environment, message
):
    importing("loaded")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if message is None:
        assert load().result == "loaded"
    else:
        with pytest.raises(InputError, match=message):
            load()


@pytest.mark.parametrize("role, host", [
    ("worker", "127.0.0.1"), ("server", "127.0.0.1"), ("worker", "no..host")])
def test_load_gives_up_on_a_job_without_a_scheduler(importing, monkeypatch, role, host, capsys):
    importing("loaded")
    monkeypatch.setattr(environment, "START", 0.5)
    monkeypatch.setattr(environment, "QUIET", 0.1)
    for name, value in {**JOB, "DMLC_ROLE": role, "DMLC_PS_ROOT_URI": host}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Error, match="^DMLC_ROLE is .* scheduler has not answered at "
                       f"{host}:9 .* unset DMLC_ROLE"):
        load()
    assert capsys.readouterr().err.startswith(f"waiting for the scheduler at {host}:9, since")


@pytest.mark.parametrize("role, signum", [
    ("worker", signal.SIGINT), ("server", signal.SIGINT),
    pytest.param("worker", signal.SIGTERM, marks=pytest.mark.slow),
])
def test_signals_end_what_waits_for_a_job(role, signum):
    """At an address where something other than a scheduler answers, and waits forever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", "import signal, sys\n"
             "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
             "from mlp_mx.runtime import mx; mx.kv.create('dist_sync')"],
            env={**os.environ, **JOB, "DMLC_ROLE": role,
                 "DMLC_PS_ROOT_PORT": str(server.getsockname()[1])})
        server.accept()[0].close()  # it has asked whether somebody is there
        server.accept()  # and so MXNet waits now
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signum)
        try:
            assert process.wait(10) == -signum
        finally:
            process.kill()


def test_context_of_the_cpu():
    assert runtime.context("cpu") == runtime.context("cpu:0") == mx.cpu()
    assert runtime.context("cpu:1") == mx.cpu(1)
    for name in "gpu:1:2", "tpu", "", "gpu:", "gpu:-1", "cpu\n", "cpu,", "gpu:0,gpu:1":
        with pytest.raises(InputError, match="expected a context 'auto', 'cpu', 'cpu:N', 'gpu' or"):
            runtime.context(name)


def test_context_of_gpus(monkeypatch):
    features = types.SimpleNamespace(is_enabled=lambda name: True)
    wheel = types.SimpleNamespace(
        cpu=mx.cpu, gpu=mx.gpu, runtime=types.SimpleNamespace(Features=lambda: features))
    monkeypatch.setattr(runtime, "load", lambda: wheel)
    cards = []
    monkeypatch.setattr(cuda, "cards", lambda: cards)
    with pytest.raises(InputError, match="the driver finds no card; use --ctx cpu"):
        runtime.context("gpu")
    cards.append(cuda.Card("NVIDIA H200", (9, 0)))  # too new
    assert runtime.context("auto") == mx.cpu()
    with pytest.raises(InputError, match="gpu:0 is NVIDIA H200 of compute capability 9.0, and "):
        runtime.context("gpu")
    cards += [cuda.Card("NVIDIA L4", (8, 9)), cuda.Card("A2", (8, 6))]
    assert runtime.context("auto") == runtime.context("gpu:1") == mx.gpu(1)
    assert runtime.context("gpu:2") == mx.gpu(2) and runtime.context("cpu") == mx.cpu()
    with pytest.raises(InputError, match="'gpu:3' needs a GPU that .* use: gpu:0 is NVIDIA H200"):
        runtime.context("gpu:3")
    del cards[0]
    assert runtime.context("auto") == runtime.context("gpu") == mx.gpu(0)


@pytest.mark.skipif(mx.runtime.Features().is_enabled("CUDA"), reason="this is the GPU wheel")
def test_context_of_a_gpu_with_the_cpu_wheel():
    assert runtime.context("auto") == mx.cpu()
    with pytest.raises(InputError, match="CPU wheel.*mxnet-cu117"):
        runtime.context("gpu")


def test_runtime_command_prints_what_a_bug_report_needs(capsys, mnist_dir):
    assert runtime_command.main([]) == 0
    printed = capsys.readouterr().out
    for part in ("1.9.1", sys.version.split()[0], "NumPy", "Matplotlib", "CPU",
                 os.environ.get("OPENBLAS_CORETYPE") or runtime.blas_kernel() or "BLAS",
                 str(mnist_dir), "t10k-labels-idx1-ubyte.gz:"):
        assert part in printed
    assert printed.count("verified") == 4


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_dockerfile_does_what_the_runtime_advises(machine):
    with open(os.path.join(REPOSITORY, "Dockerfile"), encoding="utf-8") as file:
        lines = re.findall("^RUN (.*)", file.read().replace("\\\n", " "), re.M)
    dockerfile = " ".join(" ".join(lines).split())
    install, *links = re.sub("^.* install -y ", "", diagnosis.DEBIAN[machine]).split(" && ")
    assert all(re.search(rf"\b{package}\b", dockerfile) for package in install.split())
    assert all(command in dockerfile for command in links)
    assert diagnosis.INSTALL.replace("install", "install --no-cache-dir") in dockerfile

"""Old code, unedited, in each of the ways that ``docs/runtime.rst`` names."""

import collections
import importlib.util
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mlp_mx import runtime
from mlp_mx.runtime import __main__ as runtime_command

RUN = ("-m", "mlp_mx.runtime")
HOOK = runtime.inherited({})["PYTHONPATH"]
OLD_SCRIPT = '''\
# -*- coding: utf-8 -*-
from __future__ import print_function, division
import argparse
import collections
import multiprocessing as mp
from collections import Iterable
from distutils.version import LooseVersion
import numpy as np
import mxnet as mx
from mxnet import autograd, gluon, nd
import helper

assert LooseVersion(mx.__version__) >= LooseVersion("1.0.0")
assert isinstance([], (Iterable, collections.Sequence))


def evaluate(weight, queue):
    value = nd.dot(nd.array([[1, 2]]), nd.array(weight)).asscalar()
    queue.put((float(value), np.dtype(np.float).name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    data = np.fromstring(helper.CONTENT, dtype=np.uint8).reshape((4, 2)).astype(np.float)
    label = data.sum(axis=1)
    mask = np.ones(4, dtype=np.bool)
    best = np.Inf
    net = gluon.nn.Dense(1, use_bias=False, in_units=2)
    net.initialize(mx.init.Zero())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.8})
    for epoch in range(args.epochs):
        with autograd.record():
            loss = gluon.loss.L2Loss()(net(nd.array(data[mask])), nd.array(label[mask]))
        loss.backward()
        trainer.step(4)
        best = min(best, loss.mean().asscalar())
    context = mp.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=evaluate, args=(net.weight.data().T.asnumpy(), queue))
    child.start()
    value, dtype = queue.get(timeout=30)
    child.join()
    print(round(value, 2), dtype, best < 1e-3, child.exitcode, helper.is_int(3))
'''


@pytest.fixture
def old(tmp_path):
    """A folder with a script from 2018 and a module next to it."""
    (tmp_path / "train.py").write_text(OLD_SCRIPT)
    (tmp_path / "helper.py").write_text(
        "import numpy as np\nCONTENT = bytes(bytearray([1, 0, 0, 1, 1, 1, 2, 1]))\n"
        "def is_int(value):\n    return isinstance(value, np.int)\n")
    return tmp_path


def test_script_of_2018_trains_with_a_spawned_child(old, python):
    result = python("-W", "ignore", *RUN, old / "train.py", "--epochs", 40)
    assert (result.stdout, result.stderr, result.returncode) == (
        "3.0 float64 True 0 True\n", "", 0)


@pytest.mark.slow
def test_children_of_all_kinds_find_mxnet_and_old_names(tmp_path, python):
    """Except a spawned one, which the script of 2018 has."""
    (tmp_path / "pools.py").write_text(textwrap.dedent("""\
        import concurrent.futures, multiprocessing, subprocess, sys
        import numpy as np

        def work(number):
            import mxnet as mx
            return float((mx.nd.ones(number).astype(np.float)).sum().asscalar())

        def total(array):
            return float(array.sum().asscalar())

        if __name__ == "__main__":
            for method in sys.argv[1:]:
                context = multiprocessing.get_context(method)
                with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                    print(method, list(pool.map(work, [2, 3])))
            code = ("import mxnet as mx, numpy as np; "
                    "print(np.float(mx.nd.ones(4).sum().asscalar()))")
            print(subprocess.check_output([sys.executable, "-c", code]).decode(), end="")
            try:
                import joblib
            except ImportError:
                pass
            else:
                array = __import__("mxnet").nd.ones(5)
                print(joblib.Parallel(2)([joblib.delayed(total)(array)]))
        """))
    methods = [method for method in multiprocessing.get_all_start_methods() if method != "spawn"]
    result = python("-W", "ignore", *RUN, tmp_path / "pools.py", *methods)
    assert result.stdout.splitlines() == [
        *(f"{method} [2.0, 3.0]" for method in methods), "4.0",
        *(["[5.0]"] if importlib.util.find_spec("joblib") else [])], result.stderr
    assert (result.stderr, result.returncode) == ("", 0)


@pytest.mark.slow
def test_pytest_runs_tests_of_old_code(tmp_path, python):
    (tmp_path / "test_it.py").write_text(
        "import numpy as np\nimport mxnet as mx\n\n\ndef test_ones():\n"
        "    assert np.float(mx.nd.ones(2).sum().asscalar()) == 2 and np.Inf > 0\n")
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path)
    in_a_process_of_its_own = ("-n", "1") if importlib.util.find_spec("xdist") else ()
    for start in ((*RUN, "-m", "pytest"),
                  ("-m", "pytest", "-p", "mlp_mx.runtime", *in_a_process_of_its_own)):
        result = python(*start, *options)
        assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout


PYTHON = """
import json, os, sys
print(json.dumps([
    sys.argv, sys.path[0], __name__, globals().get("__file__"), sys.flags.optimize, sys.warnoptions,
    sorted(set(sys.modules) & {"numpy", "mxnet", "mlp_mx.runtime.imports"}),
    __doc__, list(globals())[:4], sys.stdin.read() if __name__ == "never" else None,
    len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0]))
"""


@pytest.mark.parametrize("arguments", [
    ("shown.py", "a", "-m", "--help"), ("-m", "shown", "--version"), ("-c", PYTHON, "x"),
    ("-", "y"), ("-O", "-W", "error", "shown.py"),
])
def test_runner_is_python(arguments, tmp_path):
    """Everything that a script sees of its start, and no import of ours."""
    (tmp_path / "shown.py").write_text(PYTHON)
    seen = [subprocess.run([sys.executable, *start, *arguments], input=PYTHON, cwd=tmp_path,
                           env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
                           capture_output=True, text=True) for start in ((), RUN)]
    assert json.loads(seen[0].stdout) == json.loads(seen[1].stdout)
    assert seen[0].stderr == seen[1].stderr == ""


@pytest.mark.parametrize("options", [["-E"], ["-B", "-I"], ["-bE"]])
def test_runner_refuses_options_that_would_switch_it_off(options, capsys):
    assert runtime_command.main([*options, "script.py"]) == 2
    assert re.fullmatch("error: omit Python's options -E and -I; .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("code, exit_code", [
    ("import sys; sys.exit(7)", 7), ("raise SystemExit('gone')", 1), ("def", 1), ("1 / 0", 1),
    ("import no_such_module", 1), ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
    ("import mxnet_is_not_this", 1),
    ("import numpy; numpy.no_such_name", 1), ("import collections; collections.Nothing", 1),
])
def test_runner_ends_as_python_does(code, exit_code, tmp_path):
    path = tmp_path / "ends.py"
    path.write_text(code)
    plain, run = (subprocess.run([sys.executable, *start, path], capture_output=True, text=True)
                  for start in ((), RUN))
    assert plain.returncode == run.returncode == exit_code
    ours = [line for line in run.stderr.splitlines() if "mlp_mx" not in line]
    if "numpy" not in code and "collections" not in code:  # their __getattr__ is in the traceback
        assert run.stderr == plain.stderr
    assert ours[-1:] == plain.stderr.splitlines()[-1:]


def test_distutils_is_found_at_the_first_try(python):
    """Newer Pythons do not look at finders that are added while they look for a module."""
    result = python(*RUN, "-c", "import sys\n"
                    "print(any(each.find_spec('distutils', None) for each in [*sys.meta_path]))")
    assert result.stdout == "True\n", result.stderr


def test_signals_reach_the_script(tmp_path):
    (tmp_path / "waits.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    sys.exit(9)\n")
    for signum, code in ((signal.SIGINT, 9), (signal.SIGTERM, 1)):
        process = subprocess.Popen([sys.executable, *RUN, tmp_path / "waits.py"], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signum)
        process.communicate(timeout=20)
        assert process.returncode == code


def test_find_spec_tells_the_truth_and_start_up_is_short(tmp_path, python):
    code = ("import importlib.util as util, sys\n"
            "spec = util.find_spec('mxnet')\n"
            "print(spec and spec.origin, 'numpy' in sys.modules, 'mxnet' in sys.modules)")
    real = importlib.util.find_spec("mxnet").origin
    assert python(*RUN, "-c", code).stdout == f"{real} False False\n"
    assert python(*RUN, "-S", "-c", code).stdout == "None False False\n"  # without the hook, too
    environment = runtime.inherited(os.environ)
    added = set(python("-c", "import sys; print(*sys.modules)", **environment).stdout.split())
    added -= set(python("-c", "import collections, importlib.machinery, importlib.util, sys; "
                        "print(*sys.modules)"
                        ).stdout.split())
    assert added <= {"sitecustomize"}  # so that it cannot take long


def test_a_sitecustomize_that_is_there_is_called_on(tmp_path, python):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.called = __file__")
    (tmp_path / "other").mkdir()
    environment = runtime.inherited({"PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path}/other"})
    assert environment["PYTHONPATH"] == f"{HOOK}{os.pathsep}{tmp_path}{os.pathsep}{tmp_path}/other"
    assert runtime.inherited(environment) == environment
    result = python("-c", "import sys, sitecustomize as s; print(sys.called == s.__file__)\n"
                          "import mxnet; from mlp_mx import runtime; print(runtime.mx is mxnet)",
                    **environment)
    assert result.stdout == "True\nTrue\n", result.stderr


NOBODY_ELSE = """
import sys
sys.path.append(sys.argv[1])
import collections
import numpy as np
import own, stranger, built_on_mxnet, submodule_of.built
assert own.has() and np.Inf > 1 and collections.Iterable
assert built_on_mxnet.has() and submodule_of.has()
assert stranger.has() is False
assert "float" not in vars(np) and "Iterable" not in vars(collections)
"""
HAS = """
import collections
import numpy as np

def has():
    return hasattr(np, "Inf") and hasattr(np, "float") and hasattr(collections, "Iterable")
"""


@pytest.mark.skipif(hasattr(np, "float") or hasattr(collections, "Iterable"),
                    reason="this Python or NumPy still has the old names")
def test_nobody_else_sees_the_old_names(tmp_path, python):
    """The script, what is beside it, and packages that import MXNet; not installed packages."""
    site, beside = tmp_path / "x" / "site-packages", tmp_path / "script"
    for folder in site / "submodule_of", beside:
        folder.mkdir(parents=True)
    (beside / "main.py").write_text(NOBODY_ELSE)
    (beside / "own.py").write_text(HAS)
    (site / "stranger.py").write_text(HAS)
    (site / "built_on_mxnet.py").write_text("from mxnet.gluon import Block\n" + HAS)
    (site / "submodule_of" / "__init__.py").write_text(HAS)
    (site / "submodule_of" / "built.py").write_text("import mxnet as mx")
    result = python("-W", "ignore", *RUN, beside / "main.py", site)
    assert (result.stderr, result.returncode) == ("", 0)


def test_old_names_are_for_the_packages_named(tmp_path, python):
    (tmp_path / "old.py").write_text(HAS)
    (tmp_path / "new.py").write_text(HAS)
    result = python("-W", "ignore", "-c", "import old, new; from mlp_mx import runtime\n"
                    "print(old.has(), new.has()); runtime.old_names('old')\n"
                    "print(old.has(), new.has())",
                    PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert result.stdout == "False False\nTrue False\n", result.stderr

"""MXNet's own unit tests under ``python -m mlp_mx.runtime``, for the table in docs/runtime.rst.

    git clone --branch 1.9.1 --depth 1 https://github.com/apache/mxnet
    pip install pytest pytest-timeout pynose scipy pandas opencv-python-headless
    python tests/world/unittests.py mxnet [file ...]

Each file runs in a process of its own. The seeds are fixed, so that two Pythons can be compared.
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Of long files, every n-th test.
FILES = {
    **dict.fromkeys(
        "attr autograd base contrib_autograd contrib_krprod contrib_optimizer contrib_svrg_module "
        "contrib_svrg_optimizer contrib_text dlpack dynamic_shape engine exc_handling executor "
        "gluon_batch_processor gluon_contrib gluon_data gluon_data_vision gluon_estimator "
        "gluon_event_handler gluon_rnn gluon_save gluon_trainer gluon_utils image infer_shape "
        "infer_type init io kvstore kvstore_custom loss metric model_parallel module "
        "multi_device_exec ndarray numpy_gluon numpy_ndarray optimizer profiler recordio rnn "
        "runtime sparse_ndarray symbol test_utils thread_local viz".split(), 1),
    "gluon": 3, "gluon_model_zoo": 3, "numpy_interoperability": 1, "numpy_op": 10, "operator": 10,
    "random": 3, "sparse_operator": 3,
}
PYTEST = (sys.executable, "-W", "ignore", "-m", "mlp_mx.runtime", "-m", "pytest", "-W", "ignore",
          "-p", "no:cacheprovider", "--tb=no")
SECONDS = 60, 300  # for a test, and for a file
CONFTEST = """
def pytest_collection_finish(session):  # pytest does not call nose's setupClass, which downloads
    import cv2, numpy
    images = [f"data/{number}.jpg" for number in range(16)]
    for path in images:
        cv2.imwrite(path, numpy.random.randint(0, 255, (300, 400, 3), dtype="uint8"))
    for item in session.items:
        if hasattr(item.cls, "IMAGES"):
            item.cls.IMAGES = images
"""


def run(file, part, folder):
    """Run every `part`-th test of a file; print how many did what, and why others failed."""
    def pytest(*arguments):
        with open(pathlib.Path(folder, "log"), "w+") as log:  # a file survives a process's end
            try:
                subprocess.run([*PYTEST, *arguments], cwd=folder, stdout=log,
                               stderr=subprocess.DEVNULL, timeout=SECONDS[1],
                               env={**os.environ, "MXNET_TEST_SEED": "1", "MXNET_MODULE_SEED": "1",
                                    "COLUMNS": "250"})
            except subprocess.TimeoutExpired:
                pass
            log.seek(0)
            return log.read()

    tests = re.findall(r"^test_.*::.*$", pytest("--collect-only", "-q", file), re.MULTILINE)
    chosen = tests[::part]
    output = pytest("-v", "-rfE", f"--timeout={SECONDS[0]}", *chosen) if chosen else ""
    ended = dict(re.findall(r"^(test_\S+::\S+) (PASSED|FAILED|SKIPPED|ERROR)", output,
                            re.MULTILINE))
    counts = collections.Counter(ended.values())
    print(file, f"{len(chosen)} of {len(tests)}", *(f"{counts[word]} {word.lower()}" for word in (
        "PASSED", "FAILED", "ERROR", "SKIPPED")), sep="  ", flush=True)
    reasons = re.findall(r"^(?:FAILED|ERROR) \S+::.*$", output, re.MULTILINE)
    for line in sorted(reasons) + [f"not ended: {test}" for test in chosen if test not in ended]:
        print("   ", line[:300], flush=True)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        tests = shutil.copytree(pathlib.Path(sys.argv[1], "tests", "python"), f"{folder}/a/python")
        pathlib.Path(tests, "unittest", "data").mkdir()
        pathlib.Path(tests, "unittest", "conftest.py").write_text(CONFTEST)
        for name in sys.argv[2:] or FILES:
            run(f"test_{name}.py", FILES.get(name, 1), f"{tests}/unittest")

"""Patches to MXNet's modules for today's NumPy and network: one function per change.

Each takes a module, freshly imported, and changes something in it.
"""

import collections
import contextlib
import functools
import gzip
import os
import re
import shutil
import signal
import tarfile
import threading
import types

import numpy as np

from .._support import files, mirrors
from .._support.errors import Error
from .._support.mnist_files import FILES
from .numpy_names import IS_NUMPY_2

__all__ = ["patch"]

# MXNet's URLs; the last folder is the data set's name.
GONE = re.compile(r"https?://(?:apache-mxnet\.s3[\w.-]*|data\.mxnet\.io|data\.dmlc\.ml|"
                  r"repo\.mxnet\.io|deeplearning\.net)/(?:.*/)?([^/]+)/([^/]+)$")
SECONDS = (5, 30)  # to connect to a mirror, and for each part of its answer

_PATCHES = collections.defaultdict(list)


def patch(module):
    """Apply all changes that are registered for this module of MXNet."""
    for function in _PATCHES[module.__name__]:
        function(module)


def _of(*modules, wanted=True):
    """Register a function as a change of these modules, if it is wanted here."""

    def register(function):
        for module in modules if wanted else ():
            _PATCHES[f"mxnet.{module}"].append(function)
        return function

    return register


class _Strings(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str)


class _Text(str, metaclass=_Strings):
    """``str``, but a tuple's or list's NumPy numbers are written as NumPy 1 did."""

    def __new__(cls, value=""):
        text = str(value)
        if isinstance(value, str) or "np." not in text:
            return text
        with np.printoptions(legacy="1.25"):
            return str(value)


@_of("_ctypes.ndarray", "_ctypes.symbol", "io.io", "kvstore.base", "symbol.symbol",
     wanted=IS_NUMPY_2)
def plain_numbers_in_texts(module):
    """Operators get their parameters as text; NumPy 2 writes ``(np.int64(3),)`` for ``(3,)``."""
    module.str = _Text


@_of("ndarray.ndarray")
def whole_arrays(module):
    """Give ``np.array(nd)`` and ``plt.plot(nd)`` all values at once.

    NumPy would read them one by one, each an NDArray again, and since NumPy 1.24 raises ValueError.
    """

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("the values of an NDArray are always copied")
        values = self.asnumpy()
        return values if dtype is None else values.astype(dtype, copy=False)

    module.NDArray.__array__ = __array__


@_of("kvstore.base")
def signals_while_a_job_begins(module):
    """``create("dist_sync")`` waits for all of a job in C, where Python's handlers do not run."""
    create = module.create

    @functools.wraps(create)
    def create_interruptibly(name="local"):
        former = {}
        if "dist" in name and threading.current_thread() is threading.main_thread():
            former = {signum: signal.signal(signum, signal.SIG_DFL)
                      for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
                      if callable(signal.getsignal(signum))}
        try:
            return create(name)
        finally:
            for signum, handler in former.items():
                signal.signal(signum, handler)

    module.create = create_interruptibly


@_of("recordio", wanted=not hasattr(np.ndarray, "tostring"))
def bytes_of_labels(module):
    """NumPy 2.3 removed ``ndarray.tostring``, an old name of ``tobytes``."""
    for function in (module.pack, module.pack_img):
        code = function.__code__
        names = ["tobytes" if name == "tostring" else name for name in code.co_names]
        function.__code__ = code.replace(co_names=tuple(names))


@_of("metric", wanted=IS_NUMPY_2)
def sums_in_double_precision(module):
    """Metrics add float32 values to 0.0; NumPy 2 keeps float32, which stops growing at 2 ** 24."""

    def __setattr__(self, name, value):
        if name in ("sum_metric", "global_sum_metric") and isinstance(value, (float, np.floating)):
            value = np.float64(value)
        object.__setattr__(self, name, value)

    module.EvalMetric.__setattr__ = __setattr__


class _Requests:
    """``requests`` with time-outs, which MXNet does not set."""

    def __getattr__(self, name):
        import requests

        return getattr(requests, name)

    def get(self, url, **options):
        return self.__getattr__("get")(url, **{"timeout": SECONDS, **options})


@_of("gluon.utils", "test_utils")
def downloads_from_mirrors(module):
    """MXNet's hosts are gone: each file is tried once at each mirror, and a failure is one line."""
    download = module.download

    @functools.wraps(download)
    def from_mirrors(url, *args, **options):
        match = GONE.match(url)
        if not match:
            return download(url, *args, **options)
        name, file = match.groups()
        is_known = name != "mnist" or file in FILES
        public, problems = mirrors.MIRRORS.get(name, ()) if is_known else (), []
        urls = [base + file for base in mirrors.own_first(
            public, "" if name == "mnist" else f"{name}/")] if public else [url]
        for url in urls:
            try:
                return download(url, *args, **{**options, "retries": 0})
            except Exception as error:
                problems.append(f"{url}: {type(error).__name__}")
        raise Error(mirrors.without_password(
            f"{file} cannot be downloaded: MXNet's host is gone, and " + (
                f"no mirror provides it ({'; '.join(problems)}); set MLP_MX_MIRROR to the URL of "
                "another one" if public else
                "no public copy is known; get it elsewhere and put it where MXNet looks "
                f"({_place(args, options)}), or set MXNET_GLUON_REPO to the URL of a copy")))

    module.download, module.requests = from_mirrors, _Requests()
    module.print = lambda *texts: print(*(mirrors.without_password(str(text)) for text in texts))


def _place(args, options):
    """The folder for a file, from the arguments of one of MXNet's two ``download``."""
    path = next(filter(None, [*map(options.get, ("path", "dirname", "fname")), *args[1::-1]]), "")
    return path if os.path.isdir(path) else os.path.dirname(path) or os.curdir


@_of("gluon.data.vision.datasets")
def cifar_as_its_makers_packed_it(module):
    """gluon knows the SHA-1 of an archive of its own; its makers' has the files in a folder."""
    read = module.CIFAR10._get_data

    def _get_data(self):
        sha1 = dict(self._train_data + self._test_data)

        def is_complete():
            paths = {name: os.path.join(self._root, name) for name in sha1}
            return all(os.path.exists(paths[name]) and module.check_sha1(paths[name], sha1[name])
                       for name in sha1)

        name = self._archive_file[0]
        archive = os.path.join(self._root, name)
        if not is_complete():
            _unpack(archive, self._root, sha1)  # one that is there
        if not is_complete():
            with contextlib.suppress(FileNotFoundError):
                os.remove(archive)  # without a SHA-1, gluon would keep it
            url = module._get_repo_file_url(f"gluon/dataset/{self._namespace}", name)
            module.download(url, path=self._root)
            _unpack(archive, self._root, sha1)
            if not is_complete():
                raise Error(f"{archive} lacks files that gluon knows by SHA-1: {', '.join(sha1)}; "
                            "get it elsewhere")
        read(self)

    module.CIFAR10._get_data = _get_data


def _unpack(archive, folder, names):
    """Unpack the files of these names, in whatever folder of a tar archive, into one folder."""
    with contextlib.suppress(tarfile.TarError, EOFError, OSError), tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name in names:
                with files.whole_file(os.path.join(folder, name)) as file:
                    shutil.copyfileobj(tar.extractfile(member), file)


@_of("test_utils")
def verified_mnist(module):
    """Check the files of ``get_mnist`` and ``get_mnist_ubyte``; the latter expects an archive."""
    download = module.download

    def verified(url, fname=None, dirname=None, **options):
        name = url.rpartition("/")[2]
        if name not in FILES:
            return download(url, fname, dirname, **options)
        from mxnet import gluon

        path = os.path.join(dirname or "", fname or name)
        return gluon.utils.download(url, path, sha1_hash=FILES[name].sha1, **options)

    def get_mnist_ubyte():
        for name in FILES:
            path = os.path.join("data", name[:-len(".gz")])
            if not os.path.exists(path):
                with gzip.open(verified(f"http://data.mxnet.io/data/mnist/{name}",
                                        dirname="data")) as file, files.whole_file(path) as copy:
                    shutil.copyfileobj(file, copy)

    module.download = functools.wraps(download)(verified)
    module.get_mnist_ubyte = functools.wraps(module.get_mnist_ubyte)(get_mnist_ubyte)


@_of("test_utils")
def chi_square_of_whole_numbers(module):
    """MXNet truncates expected frequencies to integers; SciPy 1.7 requires their sum to match."""
    stats = module.ss
    if not stats:  # no SciPy
        return

    def chisquare(f_obs, f_exp):
        observed, expected = np.sum(f_obs), np.sum(f_exp)
        if abs(observed - expected) <= len(f_exp):  # else samples are in no bucket
            f_exp = f_exp * (observed / expected)
        return stats.chisquare(f_obs, f_exp)

    module.ss = types.SimpleNamespace(**{**vars(stats), "chisquare": chisquare})


UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
          "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power}


def _operator(ufunc, method, is_reflected):
    """A NumPy scalar's operator that takes Python's numbers for NumPy's of 64 bits."""

    def operator(self, other):
        if type(other) not in (int, float):
            return method(self, other)
        other = np.asarray(other)[()]
        return ufunc(other, self) if is_reflected else ufunc(self, other)

    return operator


@functools.lru_cache(maxsize=None)
def _as_in_numpy_1(scalar):
    """A subclass of a NumPy scalar type: prints like it, computes with numbers as NumPy 1 did."""
    return type(scalar.__name__, (scalar,), {
        f"__{side}{name}__": _operator(ufunc, getattr(scalar, f"__{side}{name}__"), side == "r")
        for name, ufunc in UFUNCS.items() for side in ("", "r")})


@_of("ndarray.ndarray", wanted=IS_NUMPY_2)
def scalars_that_promote(module):
    """In NumPy 2, float32 + 1 is float32, which stops growing at 2 ** 24, and uint8 250 + 10 is 4.

    And ``float`` no longer takes the array of shape (1, 1) that ``asscalar`` made of such an array.
    """
    original = module.NDArray.asscalar

    @functools.wraps(original)
    def asscalar(self):
        value = np.ravel(original(self))[0]
        return _as_in_numpy_1(type(value))(value) if isinstance(value, np.number) else value

    module.NDArray.asscalar = asscalar

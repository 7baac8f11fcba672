"""Downloads from real HTTP servers on loopback, which misbehave as servers do."""

import concurrent.futures
import gzip
import hashlib
import http.server
import os
import pathlib
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from mlp_mx import InputError
from mlp_mx._support import files
from mlp_mx.data import download, mnist

RACES = int(os.environ.get("MLP_MX_RACES", 1))
MIRRORS, SECONDS, SECONDS_TO_REPEAT = mnist.MIRRORS, download.SECONDS, mnist.SECONDS_TO_REPEAT
FILES = {name: gzip.compress(name.encode() * 1000, mtime=0) for name in mnist.FILES}
FIRST = next(iter(FILES))
KNOWN = {name: mnist.FILES[name]._replace(
    size=len(body), sha256=hashlib.sha256(body).hexdigest()) for name, body in FILES.items()}


class Mirror(http.server.BaseHTTPRequestHandler):
    """A server that behaves as the folder in the URL says."""

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append((behaviour, name))
        if behaviour == "flaky":  # fails twice per file, each time differently
            count = self.server.requests.count(("flaky", name))
            behaviour = ["forbidden", "cut", "good"][min(count, 3) - 1]
        elif behaviour == "faulty":  # fails at random, but not more than twice in a row
            failures = self.server.failures.get(name, 0)
            self.server.failures[name] = (failures + 1) % 3 if random.random() < 0.6 else 0
            behaviour = random.choice(["cut", "wrong", "forbidden", "silent"]
                                      if self.server.failures[name] else ["good", "slow"])
        if behaviour == "forbidden":
            self.send_error(403)
        elif behaviour == "header":
            self.trickle(b"HTTP/1.0 200 OK\r\nX: " + b"x" * 10**6)
        elif behaviour != "silent":
            self.answer(behaviour, name, FILES[name])

    def answer(self, behaviour, name, body):
        self.send_response(302 if "moved" in behaviour else 200)
        self.send_header("Location", f"/good/{name}")  # read if it is moved
        if behaviour == "labelled" and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")  # as if gzip were not the file's own
        if "endless" not in behaviour:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "trickle":
            self.trickle(body)
        # What the system keeps of what nobody reads would count as sent, megabytes otherwise.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        while "endless" in behaviour:  # until the other side closes the connection
            self.server.sent += self.wfile.write(bytes(1 << 16))
        if behaviour == "wrong":
            body = body[:-1] + b"?"
        for start in range(0, len(body), 40):
            if start and behaviour in ("cut", "stalled"):
                break
            if behaviour == "slow":
                time.sleep(random.uniform(0, 0.1))
            self.wfile.write(body[start:start + 40])
        if behaviour == "stalled":
            self.server.closing.wait(20)

    def trickle(self, content):
        """Send a byte every 20 ms, so that no socket time-out ever stops it."""
        for start in range(len(content)):
            if self.server.closing.wait(0.02):
                break
            self.wfile.write(content[start:start + 1])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.requests, server.failures, server.closing = [], {}, threading.Event()
        server.sent, server.handle_error = 0, lambda *args: None  # clients may leave
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """Small files in place of MNIST's, short times, and no mirror outside this machine."""
    for name, known in KNOWN.items():
        monkeypatch.setitem(mnist.FILES, name, known)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.setattr(download, "SECONDS", 0.5)
    monkeypatch.setattr(mnist, "SECONDS_TO_REPEAT", 0.2)
    monkeypatch.delenv("MLP_MX_MIRROR", raising=False)


def use(monkeypatch, server, *behaviours):
    """Make the server's folders the mirrors, the first one as the user's own."""
    own, *others = (f"{server.url}/{behaviour}/" for behaviour in behaviours)
    monkeypatch.setenv("MLP_MX_MIRROR", own.rstrip("/"))
    monkeypatch.setattr(mnist, "MIRRORS", tuple(others))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder_is_where_the_user_or_gluon_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.delenv("MLP_MX_DATA", raising=False)
    monkeypatch.delenv("MXNET_HOME", raising=False)
    assert mnist.folder() == pathlib.Path("/home/reader/.mxnet/datasets/mnist")
    monkeypatch.setenv("MXNET_HOME", "/mxnet")
    assert mnist.folder() == pathlib.Path("/mxnet/datasets/mnist")
    monkeypatch.setenv("MLP_MX_DATA", "~/mnist")
    assert mnist.folder() == pathlib.Path("/home/reader/mnist")
    assert mnist.folder(tmp_path) == tmp_path


@pytest.mark.parametrize("behaviour", ["moved", "flaky", "labelled"])
def test_fetch_downloads_what_is_missing(server, monkeypatch, tmp_path, behaviour):
    use(monkeypatch, server, behaviour, behaviour)  # a mirror may be named twice
    folder = tmp_path / "new" / "folder"
    assert mnist.fetch(folder) == folder
    assert contents(folder) == FILES
    assert set(mnist.status(folder).values()) == {"verified"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in folder.iterdir())


def test_fetch_asks_only_for_what_is_damaged(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    mnist.fetch(tmp_path)
    server.requests.clear()
    tmp_path.chmod(0o500)
    changed = tmp_path.stat().st_mtime_ns
    mnist.fetch(tmp_path)
    assert server.requests == []
    assert tmp_path.stat().st_mtime_ns == changed  # root could write even so
    tmp_path.chmod(0o700)
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(b"damaged")
    assert mnist.status(tmp_path)[damaged.name] == "wrong size"
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES
    assert server.requests == [("good", damaged.name)]


@pytest.mark.parametrize("behaviour, reason", [
    ("cut", "connection failed"), ("wrong", "wrong SHA-256"), ("forbidden", "HTTP 403"),
    ("stalled", "timed out"), ("trickle", "timed out"), ("header", "timed out"),
    ("endless", "wrong size"),
])
def test_fetch_never_keeps_a_wrong_file_and_tries_the_next_mirror(
    server, monkeypatch, tmp_path, behaviour, reason
):
    use(monkeypatch, server, behaviour)
    start = time.monotonic()
    with pytest.raises(mnist.DownloadError) as caught:
        mnist.fetch(tmp_path)
    assert time.monotonic() - start < 2  # SECONDS, here 0.5, and perhaps once more
    assert list(tmp_path.iterdir()) == []
    host = server.url.partition("//")[2]
    assert str(caught.value) == (
        f"{FIRST} (missing) could not be downloaded to {tmp_path}. Put MNIST's four .gz files "
        "there, or set MLP_MX_MIRROR to the URL of a folder that has them. Tried: "
        f"{host}/{behaviour} ({reason})")
    server.requests.clear()
    use(monkeypatch, server, behaviour, "good")
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES
    assert [request[0] for request in server.requests].count(behaviour) == 1  # then stays
    assert server.sent < 20e6  # what sockets hold, and no more


def test_fetch_does_not_read_the_body_of_a_redirect(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "moved-endless")
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES


def test_fetch_without_a_network_gives_up_in_time_and_names_each_reason_once(
    server, monkeypatch, tmp_path
):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts connections, never answers
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        closed = "http://127.0.0.1:9/"
        monkeypatch.setenv("MLP_MX_MIRROR", f"http://me:secret@{address}")
        monkeypatch.setattr(mnist, "MIRRORS", (closed, f"{server.url}/trickle/", closed + "b/"))
        start = time.monotonic()
        with pytest.raises(mnist.DownloadError) as caught:
            mnist.fetch(tmp_path)
    assert time.monotonic() - start < 2  # two mirrors, 0.5 s each, none of them again
    assert str(caught.value).endswith(
        f"Tried: ***@{address}, {server.url[7:]}/trickle (timed out); "
        "127.0.0.1:9, 127.0.0.1:9/b (connection failed)")


@pytest.mark.parametrize("password", ["secret", "se/cret", "se@cret", "se cret"])
def test_no_password_is_printed(monkeypatch, tmp_path, password):
    monkeypatch.setenv("MLP_MX_MIRROR", f"http://me:{password}@127.0.0.1:9")
    with pytest.raises(mnist.DownloadError, match=r"Tried: \*\*\*@127.0.0.1:9 \(connection"):
        mnist.fetch(tmp_path)
    monkeypatch.setenv("MLP_MX_MIRROR", f"ftp://me:{password}@127.0.0.1")
    with pytest.raises(InputError, match=r"found 'ftp://\*\*\*@127.0.0.1'"):
        mnist.fetch(tmp_path)


def test_fetch_does_not_wait_for_a_name_server(monkeypatch, tmp_path):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: waiting.wait(20))
    monkeypatch.setattr(mnist, "MIRRORS", ("http://mirror.invalid/",))
    start = time.monotonic()
    with pytest.raises(mnist.DownloadError, match="mirror.invalid .timed out"):
        mnist.fetch(tmp_path)
    waiting.set()
    assert time.monotonic() - start < 2


def test_fetch_takes_at_most_25_seconds_when_nothing_arrives():
    mirrors_and_ones_own = len(MIRRORS) + 1
    assert mirrors_and_ones_own * (SECONDS + download.POLL) <= 25
    assert SECONDS_TO_REPEAT + SECONDS <= 25  # a last attempt, if the first failed at once


def test_a_slow_mirror_is_waited_for_as_long_as_it_sends(server, monkeypatch):
    monkeypatch.setattr(download, "SECONDS", 0.3)
    monkeypatch.setattr(download, "LEAST", 1)
    monkeypatch.setattr(download, "CHUNK", 1)
    body = bytes(range(60))  # a byte every 20 ms
    monkeypatch.setitem(FILES, "short", body)
    start = time.monotonic()
    assert download.get(f"{server.url}/trickle/short", len(body)) == body
    assert time.monotonic() - start > 1  # several times SECONDS


def test_ctrl_c_ends_a_download(server, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "mlp_mx.train", "--dataset", "mnist", "--data-dir", tmp_path],
        env={**os.environ, "MLP_MX_MIRROR": f"{server.url}/header"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        while not server.requests and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("race", range(RACES))
def test_fetch_in_two_processes_at_once(server, python, tmp_path, race):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_mnist as t; from mlp_mx.data import mnist\n"
        "mnist.FILES.update(t.KNOWN); mnist.MIRRORS = (); mnist.fetch(sys.argv[2])"
    )
    folder = tmp_path / "shared"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(lambda process: python(
            "-c", code, os.path.dirname(__file__), folder, MLP_MX_MIRROR=f"{server.url}/faulty"
        ), range(2))
    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 2
    assert contents(folder) == FILES


def test_fetch_says_what_is_wrong_with_the_folder(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="Not a directory"):
        mnist.fetch(tmp_path / "file")
    (tmp_path / FIRST).mkdir()
    with pytest.raises(InputError, match=f"{FIRST} is unreadable .Is a directory."):
        mnist.fetch(tmp_path)
    os.mkfifo(tmp_path / "t10k-labels-idx1-ubyte.gz")
    assert mnist.status(tmp_path)["t10k-labels-idx1-ubyte.gz"] == "unreadable (Not a regular file)"
    (tmp_path / FIRST).rmdir()
    (tmp_path / FIRST).touch()
    os.truncate(tmp_path / FIRST, 6 << 30)  # sparse
    with pytest.raises(InputError, match=f"{FIRST} has 6442450944 bytes, more than MNIST's"):
        mnist.fetch(tmp_path)
    server.requests.clear()
    for folder in ("/proc/mnist", "/proc/self"):
        with pytest.raises(mnist.DownloadError, match=f"cannot save MNIST in {folder}: .*choose"):
            mnist.fetch(folder)
    assert not server.requests  # it was tried first


def test_fetch_accepts_what_another_users_process_has_saved(server, monkeypatch, tmp_path):
    def whole_file(path):
        path.write_bytes(FILES[path.name])
        raise files.WriteError("it is theirs")

    use(monkeypatch, server, "good")
    monkeypatch.setattr(mnist, "whole_file", whole_file)
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize("mirror, error, message", [
    ("/srv/mnist", InputError, "MLP_MX_MIRROR.*'/srv/mnist'"),
    ("https://127.0.0.1:9/", mnist.DownloadError, "invalid path: .*absent; correct or unset"),
])
def test_fetch_says_what_is_wrong_with_the_settings(monkeypatch, tmp_path, mirror, error, message):
    monkeypatch.setenv("MLP_MX_MIRROR", mirror)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))
    with pytest.raises(error, match=message):
        mnist.fetch(tmp_path)

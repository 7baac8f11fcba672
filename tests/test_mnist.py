"""Fetching from real HTTP servers on loopback that do what servers do."""

import gzip
import hashlib
import http.server
import os
import pathlib
import random
import socket
import stat
import threading
import time

import pytest

from mlp_mx import InputError
from mlp_mx.data import mnist

RACES = int(os.environ.get("MLP_MX_RACES", 2))
FILES = {name: gzip.compress(name.encode() * 1000, mtime=0) for name in mnist.FILES}


class Mirror(http.server.BaseHTTPRequestHandler):
    """The folder in the URL says how the server behaves."""

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append((behaviour, name))
        getattr(self, behaviour)(name, FILES[name])

    def send(self, body, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def good(self, name, body):
        self.send(body)

    def cut(self, name, body):
        self.send(body[:100], len(body))

    def wrong(self, name, body):
        self.send(body[:-1] + b"?")

    def labelled(self, name, body):  # "Content-Encoding: gzip", as if gzip were not the file's own
        self.send_response(200)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def forbidden(self, name, body):
        self.send_error(403)

    def absent(self, name, body):
        self.send_error(404)

    def moved(self, name, body):
        self.send_response(302)
        self.send_header("Location", f"/good/{name}")
        self.end_headers()

    def flaky(self, name, body):  # fails twice a file, each time differently
        count = self.server.requests.count(("flaky", name))
        if count == 1:
            self.send_error(503)
        elif count == 2:
            self.cut(name, body)
        else:
            self.send(body)

    def faulty(self, name, body):  # fails at random, but not more than twice in a row
        failures = self.server.failures.get(name, 0)
        self.server.failures[name] = (failures + 1) % 3 if random.random() < 0.6 else 0
        if not self.server.failures[name]:
            random.choice([self.good, self.slow])(name, body)
        else:
            random.choice([self.cut, self.wrong, self.unavailable, self.silent])(name, body)

    def slow(self, name, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), 40):
            self.wfile.write(body[start:start + 40])
            time.sleep(random.uniform(0, 0.1))

    def unavailable(self, name, body):
        self.send_error(503)

    def silent(self, name, body):
        self.close_connection = True

    def stalled(self, name, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100])
        self.server.closing.wait(20)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.requests, server.failures, server.closing = [], {}, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """Small files in the place of MNIST's, short times, and no mirror outside this machine."""
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()}
    monkeypatch.setattr(mnist, "FILES", digests)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.setattr(mnist, "SECONDS_TO_ANSWER", 1)
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


@pytest.mark.parametrize("behaviour", ["good", "moved", "flaky", "labelled"])
def test_mnist_downloads_what_is_missing(server, monkeypatch, tmp_path, behaviour):
    use(monkeypatch, server, behaviour)
    folder = tmp_path / "new" / "folder"
    assert mnist.fetch(folder) == folder
    assert contents(folder) == FILES
    assert set(mnist.status(folder).values()) == {"verified"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in folder.iterdir())


def test_mnist_asks_nobody_when_all_files_are_right(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    mnist.fetch(tmp_path)
    server.requests.clear()
    tmp_path.chmod(0o500)
    changed = tmp_path.stat().st_mtime_ns
    mnist.fetch(tmp_path)
    assert server.requests == []
    assert tmp_path.stat().st_mtime_ns == changed  # for root, who may write to it after all


def test_mnist_replaces_a_damaged_file_and_leaves_the_others(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    mnist.fetch(tmp_path)
    server.requests.clear()
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(b"damaged")
    assert mnist.status(tmp_path)[damaged.name] == "wrong SHA-256"
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES
    assert server.requests == [("good", damaged.name)]


@pytest.mark.parametrize("behaviour, reason", [
    ("cut", "closed the connection"),
    ("wrong", "wrong SHA-256"),
    ("forbidden", "answered 403"),
    ("absent", "answered 404"),
    ("stalled", "did not answer in time"),
])
def test_mnist_never_keeps_a_wrong_file(server, monkeypatch, tmp_path, behaviour, reason):
    use(monkeypatch, server, behaviour)
    monkeypatch.setattr(mnist, "SECONDS_TO_FAIL", 2)
    with pytest.raises(mnist.DownloadError, match=reason) as caught:
        mnist.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    message = str(caught.value)
    assert "\n" not in message
    for part in (server.url, str(tmp_path), "--data-dir", "MLP_MX_DATA", "MLP_MX_MIRROR", *FILES):
        assert part in message


@pytest.mark.parametrize("behaviour", ["cut", "wrong", "forbidden", "absent", "stalled"])
def test_mnist_goes_on_to_the_next_mirror_and_stays_there(
    server, monkeypatch, tmp_path, behaviour
):
    use(monkeypatch, server, behaviour, "good")
    mnist.fetch(tmp_path)
    assert contents(tmp_path) == FILES
    assert [request[0] for request in server.requests].count(behaviour) == 1


def test_mnist_without_a_network_gives_up_in_time(monkeypatch, tmp_path):
    with socket.socket() as deaf:  # takes connections, and never says a word
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        monkeypatch.setattr(mnist, "MIRRORS", (url, "http://127.0.0.1:9/"))
        monkeypatch.setattr(mnist, "SECONDS_TO_FAIL", 1.5)
        start = time.monotonic()
        with pytest.raises(mnist.DownloadError) as caught:
            mnist.fetch(tmp_path)
    assert time.monotonic() - start < 3  # SECONDS_TO_FAIL and one more SECONDS_TO_ANSWER, here 1
    reasons = f"{url} did not answer in time; http://127.0.0.1:9/ could not be reached"
    assert reasons in str(caught.value)


@pytest.mark.parametrize("behaviour", ["good"] + ["faulty"] * RACES)
def test_mnist_of_two_processes_at_once(server, python, tmp_path, behaviour):
    code = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "import test_mnist as t; from mlp_mx.data import mnist; import hashlib\n"
        "mnist.FILES = {n: hashlib.sha256(b).hexdigest() for n, b in t.FILES.items()}\n"
        "mnist.MIRRORS = (); mnist.fetch(sys.argv[2])"
    )
    folder, results = tmp_path / "shared", []
    threads = [
        threading.Thread(target=lambda: results.append(python(
            "-c", code, os.path.dirname(__file__), folder, MLP_MX_MIRROR=f"{server.url}/{behaviour}"
        )))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 2
    assert contents(folder) == FILES


def test_mnist_replaces_no_file_that_is_whole(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    name = next(iter(FILES))
    other = gzip.compress(b"another data set of the same form")
    (tmp_path / name).write_bytes(other)
    with pytest.raises(InputError, match=f"{name} is intact but not MNIST's"):
        mnist.fetch(tmp_path)
    assert contents(tmp_path) == {name: other} and server.requests == []


def test_mnist_says_what_is_wrong_with_the_folder(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="Not a directory"):
        mnist.fetch(tmp_path / "file")
    name = next(iter(FILES))
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is unreadable .Is a directory."):
        mnist.fetch(tmp_path)


@pytest.mark.parametrize("folder", ["/proc/mnist", "/proc/self", "locked"])
def test_mnist_names_a_folder_that_cannot_be_written_to(server, monkeypatch, tmp_path, folder):
    if folder == "locked" and not os.geteuid():
        pytest.skip("root can write to every folder outside /proc")
    use(monkeypatch, server, "good")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(mnist.DownloadError, match=f"downloaded to {tmp_path / folder}: .*choose"):
        mnist.fetch(tmp_path / folder)


def test_mnist_takes_a_mirror_that_it_knows_already(server, monkeypatch, tmp_path):
    use(monkeypatch, server, "good", "good")
    assert contents(mnist.fetch(tmp_path)) == FILES


def test_mnist_refuses_a_mirror_that_is_no_url(monkeypatch, tmp_path):
    monkeypatch.setenv("MLP_MX_MIRROR", "/srv/mnist")
    with pytest.raises(InputError, match="MLP_MX_MIRROR.*'/srv/mnist'"):
        mnist.fetch(tmp_path)

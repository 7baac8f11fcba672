"""Logs: lines that are added, cut off, and read back."""

import json
import os

import pytest

from mlp_mx import InputError
from mlp_mx.train import log
from mlp_mx._support.files import WriteError


def test_log_reads_back_what_was_added(tmp_path):
    path = tmp_path / "log"
    log.Log(path).append(epoch=0, loss=0.1 + 0.2)
    log.Log(path).append(epoch=1, name="ünïcode\n")
    assert log.read(path) == [{"epoch": 0, "loss": 0.1 + 0.2}, {"epoch": 1, "name": "ünïcode\n"}]
    assert path.read_text().count("\n") == 2


@pytest.mark.parametrize("cut", range(0, 31))
def test_log_goes_on_after_a_cut_at_any_place(tmp_path, cut):
    path = tmp_path / "log"
    whole = [{"epoch": 0, "loss": 1}, {"epoch": 1}]
    for record in whole:
        log.Log(path).append(**record)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    kept = log.read(path)
    assert kept == whole[:len(kept)] and len(kept) >= content.count(b"\n")
    log.Log(path).append(epoch=2)
    assert log.read(path) == [*kept, {"epoch": 2}]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [*kept, {"epoch": 2}]


@pytest.mark.parametrize("content", [
    b"notes", b"notes\n{}\n", b"[1]\n", b"{}\nnotes", b"{ notes", b"\xff\n", b"[" * 100000 + b"\n",
])
def test_log_leaves_other_files_alone(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    for use in (log.Log, log.read):
        with pytest.raises(InputError, match="is no log of this package"):
            use(path)
    assert path.read_bytes() == content


def test_log_takes_nothing_out_before_it_adds_something(tmp_path):
    path = tmp_path / "log"
    log.Log(path).append(epoch=0)
    for rest in (b'{"epo', b"\0\0\0", b"\n", b"\0\0\n"):
        whole = path.read_bytes()
        path.write_bytes(whole + rest)
        history = log.Log(path)
        assert path.read_bytes() == whole + rest
        history.append(epoch=1)
        assert path.read_bytes() == whole + b'{"epoch": 1}\n'


def test_log_refuses_what_cannot_be_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent" / "log", tmp_path / "pipe", "/proc/log"):
        with pytest.raises(InputError, match="cannot be written: [A-Z]"):
            log.Log(path)


def test_log_writes_later_what_a_full_disk_refused(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    history = log.Log(folder / "log")
    history.append(epoch=0)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(WriteError, match="cannot be written: No such file"):
        history.append(epoch=1)
    (tmp_path / "elsewhere").rename(folder)
    history.append(epoch=2)
    assert [record["epoch"] for record in log.read(folder / "log")] == [0, 1, 2]

"""Files written whole or not at all."""

import os
import resource
import stat

import pytest

from mlp_mx import InputError
from mlp_mx._support.files import (
    WriteError, append_line, check_suffix, check_writable, open_regular, whole_file,
)


def write(path, content):
    with whole_file(path) as file:
        file.write(content)


def test_whole_file_replaces_what_was_there_or_leaves_it(tmp_path):
    path, link = tmp_path / ("n" * 255), tmp_path / "link"  # the longest name that a folder takes
    previous = os.umask(0o027)
    try:
        write(path, b"old")
        assert os.umask(0o027) == 0o027  # as it was
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link.symlink_to(path)
    write(link, b"through the link")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert link.is_symlink() and path.read_bytes() == b"through the link"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {*tmp_path.iterdir()} == {path, link}


def test_no_device_and_no_folder_is_replaced_or_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(WriteError, match="cannot be written"):
            write(path, b"content")
        with pytest.raises(OSError), open_regular(path):
            pytest.fail("opened")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, lambda *args, name=name, call=getattr(os, name): (
            calls.append(name), call(*args)))
    write(tmp_path / "model.npz", b"content")
    assert calls == ["fsync", "replace"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to others' files")
def test_root_leaves_a_users_file_to_the_user(tmp_path):
    path = tmp_path / "model.npz"
    path.touch()
    path.chmod(0o600)
    os.chown(path, 1234, 2345)
    write(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o600)
    assert path.read_bytes() == b"new"


def test_a_line_that_does_not_fit_is_an_error_and_not_cut_silently(tmp_path):
    """The kernel writes a part of the line, and reports its size: no error, until more is tried."""
    path = tmp_path / "log"
    append_line(path, b"a" * 9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (15, limits[1]))
        with pytest.raises(WriteError, match="log cannot be written: File too large"):
            append_line(path, b"b" * 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    append_line(path, b"c" * 9)
    assert path.read_bytes().splitlines() == [b"a" * 9, b"b" * 5, b"c" * 9]


def test_null_characters_in_a_name_are_an_error_that_says_so(tmp_path):
    path = str(tmp_path / "model\0.npz")
    for function in (lambda: write(path, b""), lambda: append_line(path, b""),
                     lambda: check_writable(path), lambda: open_regular(path).__enter__()):
        with pytest.raises((WriteError, InputError, OSError), match="cannot contain null"):
            function()
    assert not list(tmp_path.iterdir())


def test_check_suffix_says_what_was_expected():
    assert check_suffix("A.NPZ", ".npz", ".params") == ".npz"
    with pytest.raises(InputError, match="ends in .png, .svg or .pdf, found 'a.gif'"):
        check_suffix("a.gif", ".png", ".svg", ".pdf")

"""Files written whole or not at all."""

import os
import stat

import pytest

from mlp_mx import InputError
from mlp_mx._support.files import WriteError, check_suffix, open_regular, whole_file


def write(path, content):
    with whole_file(path) as file:
        file.write(content)


def test_whole_file_replaces_what_was_there(tmp_path):
    path = tmp_path / ("n" * 255)  # the longest name that a folder takes
    for content in (b"old", b"new"):
        write(path, content)
        assert path.read_bytes() == content
    assert [*tmp_path.iterdir()] == [path]


def test_whole_file_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    write(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        with whole_file(path) as file:
            file.write(b"half of the ne")
            raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_whole_file_keeps_permissions_and_follows_links(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    previous = os.umask(0o027)
    try:
        write(path, b"new")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link.symlink_to(path)
    write(link, b"through the link")
    assert link.is_symlink() and path.read_bytes() == b"through the link"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_whole_file_replaces_no_device_and_no_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(WriteError, match="cannot be written"):
            write(path, b"content")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_open_regular_reads_files_and_does_not_wait_for_others(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    os.mkfifo(tmp_path / "pipe")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"
    for name in ("pipe", "", "absent"):
        with pytest.raises(OSError):
            open_regular(tmp_path / name)


def test_check_suffix_says_what_was_expected():
    assert check_suffix("A.NPZ", ".npz", ".params") == ".npz"
    with pytest.raises(InputError, match="ends in .png, .svg or .pdf, found 'a.gif'"):
        check_suffix("a.gif", ".png", ".svg", ".pdf")

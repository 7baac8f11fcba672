"""Files written whole or not at all."""

import os
import stat

import pytest

from mlp_mx import InputError
from mlp_mx._support.files import WriteError, check_suffix, open_regular, whole_file


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
        with pytest.raises(OSError):
            open_regular(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_check_suffix_says_what_was_expected():
    assert check_suffix("A.NPZ", ".npz", ".params") == ".npz"
    with pytest.raises(InputError, match="ends in .png, .svg or .pdf, found 'a.gif'"):
        check_suffix("a.gif", ".png", ".svg", ".pdf")

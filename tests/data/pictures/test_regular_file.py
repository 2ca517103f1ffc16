"""A file of a folder that anybody may have filled: a pipe is refused at once, a link to a file is read."""

import os
from pathlib import Path

import pytest

from mcdist.data.pictures.regular_file import read_regular
from mcdist.proposals.folder.worker import ends_crc32


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert read_regular(tmp_path / "a.jpg") == read_regular(tmp_path / "b.jpg") == b"photo"


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name, message in (("pipe.jpg", "it is a pipe, a socket or a device"), ("folder.jpg", "Is a directory"), ("none.jpg", "No such file")):
        with pytest.raises(OSError, match=message):
            read_regular(tmp_path / name)
    with pytest.raises(OSError, match="it is a pipe, a socket or a device"):
        read_regular("/dev/zero")


def test_a_pipe_has_no_checksum_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert ends_crc32(tmp_path / "pipe.jpg") == -1

"""Thumbnails: kept once, found again, and never trusted."""

import multiprocessing
from pathlib import Path

import numpy
import pytest

from mcdist.errors import MachineError
from mcdist.gallery.thumbnails import BYTES_MAX, INDEX_NAME, PACK_NAME, Thumbnails


def test_what_was_put_is_got_also_by_another_process_later(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path / "deep" / "down", num_objects=10)
    thumbnails.put({3: b"three", 9: b"nine"})
    thumbnails.put({0: b"zero"})
    again = Thumbnails(tmp_path / "deep" / "down", num_objects=10)
    assert [again.get(row) for row in (0, 3, 9)] == [b"zero", b"three", b"nine"]
    assert [again.get(row) for row in (1, 4, 5)] == [None, None, None]


def test_the_later_of_two_pictures_counts(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, num_objects=2)
    thumbnails.put({1: b"old"})
    thumbnails.put({1: b"newer"})
    assert thumbnails.get(1) == b"newer"


def test_a_cut_or_changed_pack_gives_no_picture_and_heals(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, num_objects=3)
    thumbnails.put({0: b"zero", 1: b"one", 2: b"two"})
    pack = tmp_path / PACK_NAME
    pack.write_bytes(b"ZERO" + pack.read_bytes()[4:-1])
    assert [thumbnails.get(row) for row in range(3)] == [None, b"one", None]
    thumbnails.put({0: b"zero again", 2: b"two again"})
    assert [thumbnails.get(row) for row in range(3)] == [b"zero again", b"one", b"two again"]


@pytest.mark.parametrize("entry", [(2**63, 5, 0), (0, 2**32 - 1, 0), (0, BYTES_MAX + 1, 0), (10**15, 5, 0)])
def test_a_hostile_index_gives_no_picture(tmp_path: Path, entry: tuple[int, int, int]):
    thumbnails = Thumbnails(tmp_path, num_objects=1)
    thumbnails.put({0: b"zero"})
    offset, length, crc = entry
    (tmp_path / INDEX_NAME).write_bytes(numpy.array([offset], dtype="<u8").tobytes() + numpy.array([length, crc], dtype="<u4").tobytes())
    assert thumbnails.get(0) is None


def _fill(folder: Path, letter: bytes) -> None:
    thumbnails = Thumbnails(folder, num_objects=200)
    for row in range(200):
        thumbnails.put({row: letter * (row + 1)})


def test_processes_that_write_at_once_leave_whole_pictures(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_fill, args=(tmp_path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    thumbnails = Thumbnails(tmp_path, num_objects=200)
    assert all(thumbnails.get(row) in (b"a" * (row + 1), b"b" * (row + 1)) for row in range(200))


def test_a_folder_that_cannot_be_made_and_a_link_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot keep thumbnails"):
        Thumbnails(tmp_path / "file", num_objects=1)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / PACK_NAME).symlink_to(tmp_path / "file")
    with pytest.raises(MachineError, match="cannot keep thumbnails"):
        Thumbnails(tmp_path / "linked", num_objects=1)

"""The cache keeps its bound, evicts nothing in use, fetches a file once, and survives whoever dies while fetching."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcdist.data.files.cache import ShardCache, Wanted
from mcdist.errors import MachineError, ShardError
from mcdist.location import default_cache_dir


def file_of(place: int, *, size: int) -> Wanted:
    """A file of this size, made where it is fetched."""

    def fetch(to: Path) -> None:
        to.write_bytes(bytes(size))

    return Wanted(sha256=f"{place:064x}", num_bytes=size, suffix=".tar", fetch=fetch)


def files_of(sizes: list[int]) -> list[Wanted]:
    """Several of them, all different."""
    return [file_of(place, size=size) for place, size in enumerate(sizes)]


def test_the_cache_keeps_its_bound_and_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache, files = ShardCache(tmp_path, max_bytes=100), files_of([40, 40, 40])
    (tmp_path / "mine.txt").write_text("not the cache's")
    for turn, place in enumerate((0, 1, 0, 2)):
        with cache.open(files[place]):
            assert cache.num_bytes() <= 100
        os.utime(tmp_path / f"{files[place].sha256}.tar", (turn, turn))
    assert [cache.is_kept(file) for file in files] == [True, False, True]
    assert (tmp_path / "mine.txt").exists()


def test_a_file_in_use_is_never_evicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdist.data.files.cache.ROOM_TIMEOUT_S", 0.1)
    cache, files = ShardCache(tmp_path, max_bytes=100), files_of([60, 60])
    with cache.open(files[0]) as descriptor:
        assert not cache.fetch_ahead(files[1]), "nothing is fetched ahead at the cost of what is in use"
        with pytest.raises(MachineError, match=r"no room in .* all 60 bytes are in use; raise data.cache_gib"), cache.open(files[1]):
            pass
        assert os.pread(descriptor, 100, 0) == bytes(60)
    with cache.open(files[1]):
        assert [cache.is_kept(file) for file in files] == [False, True]


def test_room_is_waited_for(tmp_path: Path) -> None:
    cache, files = ShardCache(tmp_path, max_bytes=100), files_of([60, 60])
    with cache.open(files[0]):
        waiting = threading.Thread(target=lambda: cache.open(files[1]).__enter__())
        waiting.start()
        time.sleep(0.2)
        assert not cache.is_kept(files[1])
    waiting.join(timeout=10)
    assert cache.is_kept(files[1])


def test_what_a_killed_process_left_makes_room(tmp_path: Path) -> None:
    cache, files = ShardCache(tmp_path, max_bytes=100), files_of([60, 60])
    left = tmp_path / f"{files[0].sha256}.part"
    left.write_bytes(bytes(60))
    left.with_suffix(".download").write_bytes(bytes(30))
    with cache.open(files[1]):
        assert not left.exists() and not left.with_suffix(".download").exists()


def test_two_that_want_the_same_file_fetch_it_once(tmp_path: Path) -> None:
    fetched, begun, go = [], threading.Event(), threading.Event()

    def fetch_slowly(to: Path) -> None:
        begun.set()
        assert go.wait(10)
        fetched.append(to)
        to.write_bytes(bytes(10))

    wanted = Wanted(sha256="a" * 64, num_bytes=10, suffix=".tar", fetch=fetch_slowly)
    cache = ShardCache(tmp_path, max_bytes=100)
    first, second = (threading.Thread(target=cache.fetch_ahead, args=(wanted,)), threading.Thread(target=lambda: cache.open(wanted).__enter__()))
    first.start()
    assert begun.wait(10)
    assert not cache.fetch_ahead(wanted), "who fetches ahead does not wait for another"
    second.start()
    go.set()
    for thread in (first, second):
        thread.join(timeout=10)
    assert len(fetched) == 1


def test_a_failed_fetch_leaves_the_next_one_its_turn(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, max_bytes=100)

    def fail(to: Path) -> None:
        to.write_bytes(b"half")
        raise ShardError("damaged")

    with pytest.raises(ShardError, match="damaged"), cache.open(Wanted(sha256="b" * 64, num_bytes=10, suffix=".tar", fetch=fail)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["room.lock"]


def test_a_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(MachineError, match="belongs to another user"):
        ShardCache(tmp_path, max_bytes=100)
    assert default_cache_dir().name.startswith("mcdist-shards-")


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"cannot make the folder .*file/cache for shards \(Not a directory\)"):
        ShardCache(tmp_path / "file" / "cache", max_bytes=100)


HOLD = "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"


def test_a_lock_is_dropped_with_its_process(tmp_path: Path) -> None:
    """What the cache rests on: the kernel frees the lock of a process that is killed."""
    with subprocess.Popen([sys.executable, "-S", "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        descriptor = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)

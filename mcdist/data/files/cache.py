"""ShardCache: files of shard folders elsewhere, kept in a local folder that the processes of a node share, within a number of bytes.

A file is named by its SHA-256, so equal shards are kept once whoever asks for them, and one that changed at its source has another name.

Locks are flock, which the kernel drops when a process ends, however it ends:
- `SHA256.part`, exclusive: who fetches this file. Its length, a hole on the disk, is the room that was set aside for it.
- `SHA256.tar`, shared: who reads it. When room is needed, the file used longest ago is removed first, and one that is being read never.
- `room.lock`, exclusive: who counts and makes room.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mcdist.errors import ConfigError, MachineError, McdistError

ROOM_TIMEOUT_S = 600.0
_PAUSE_S = 0.05
_PART, _DOWNLOAD, _ROOM = ".part", ".download", "room.lock"
_OURS = re.compile(r"[0-9a-f]{64}\.(?!download)[a-z0-9]{1,16}")
"""Files that count and may be evicted; whatever else is in the folder is not ours to touch."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file by its content. `fetch` writes it to a path, checked against its SHA-256."""

    sha256: str
    num_bytes: int
    suffix: str
    fetch: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class _Turn:
    """A locked `.part`. Not ours any more where its name was taken away by who had the lock before."""

    path: Path
    descriptor: int

    def is_ours(self) -> bool:
        """Whether the path still names the locked file."""
        return _is_same(self.path, self.descriptor)


class ShardCache:
    """`max_bytes=None` keeps everything: a folder that shards are staged in. Travels between processes as its path and bound."""

    def __init__(self, folder: Path, *, max_bytes: int | None) -> None:
        """MachineError where the folder cannot be made or is not this user's: others could put files there."""
        self.folder, self.max_bytes = folder, max_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = folder.stat().st_uid
        except OSError as error:
            raise MachineError(f"cannot make the folder {folder} for shards ({error.strerror}); name another data.cache_dir or data.stage_to") from error
        if owner != os.getuid():
            raise MachineError(f"the folder {folder} for shards belongs to another user; name another data.cache_dir or data.stage_to")

    @contextmanager
    def open(self, wanted: Wanted) -> Iterator[int]:
        """A descriptor of the file, fetched where it is not held; nobody evicts it before the block ends.

        Raises:
            ConfigError: the file alone is larger than the cache.
            MachineError, ShardError: it cannot be kept or fetched.
        """
        with self._machine_errors():
            descriptor = self._open_kept(wanted)
            if descriptor is None:
                descriptor = self._fetched(wanted, wait=True)
        assert descriptor is not None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def fetch_ahead(self, wanted: Wanted) -> bool:
        """Fetch the file if it is not held and there is room at once. Whether it is held now."""
        with self._machine_errors():
            descriptor = self._open_kept(wanted)
            if descriptor is None:
                descriptor = self._fetched(wanted, wait=False)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    def is_kept(self, wanted: Wanted) -> bool:
        """Whether the file is held, in its whole length."""
        try:
            return self._path(wanted).stat().st_size == wanted.num_bytes
        except FileNotFoundError:
            return False

    def discard(self, wanted: Wanted) -> None:
        """Forget the file; a process that reads it continues to, the next one fetches it anew."""
        self._path(wanted).unlink(missing_ok=True)

    def num_bytes(self) -> int:
        """Bytes held, and set aside for what is being fetched."""
        return sum(size for _, size, _ in self._held())

    def _path(self, wanted: Wanted) -> Path:
        return self.folder / f"{wanted.sha256}{wanted.suffix}"

    def _open_kept(self, wanted: Wanted) -> int | None:
        """The file held, locked and marked as used now; None where there is none, or one of another length."""
        try:
            descriptor = os.open(self._path(wanted), os.O_RDONLY)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_size != wanted.num_bytes:
            self.discard(wanted)
            os.close(descriptor)
            return None
        os.utime(descriptor)  # where it was evicted between open and lock, the descriptor still reads it
        return descriptor

    def _fetched(self, wanted: Wanted, *, wait: bool) -> int | None:
        """Fetch the file, or wait for who does; None where that would mean waiting and `wait` is off."""
        while True:
            with self._turn(wanted, wait=wait) as turn:
                if turn is None:
                    return None
                kept = self._open_kept(wanted)
                if kept is not None:
                    return kept
                if turn.is_ours():
                    return self._download(wanted) if self._make_room(wanted, turn=turn, wait=wait) else None

    @contextmanager
    def _turn(self, wanted: Wanted, *, wait: bool) -> Iterator["_Turn | None"]:
        """The right to fetch this file, held to the end of the block; None where another has it and `wait` is off."""
        path = self.folder / f"{wanted.sha256}{_PART}"
        turn = _Turn(path, os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            fcntl.flock(turn.descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(turn.descriptor)
            yield None
            return
        try:
            yield turn
        finally:
            if turn.is_ours():
                path.unlink()
            os.close(turn.descriptor)

    def _download(self, wanted: Wanted) -> int:
        """Beside its place, then renamed: nobody sees half of it. Locked before it can be found, so that it is not evicted before it was read."""
        beside = self.folder / f"{wanted.sha256}{_DOWNLOAD}"
        try:
            wanted.fetch(beside)
            descriptor = os.open(beside, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.fsync(descriptor)
            beside.rename(self._path(wanted))
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        return descriptor

    def _make_room(self, wanted: Wanted, *, turn: "_Turn", wait: bool) -> bool:
        """Set `num_bytes` aside, evicting what was used longest ago; waits for readers and other fetchers where all is in use."""
        if self.max_bytes is None:
            return True
        if wanted.num_bytes > self.max_bytes:
            raise ConfigError(
                f"a shard of {wanted.num_bytes / 2**30:.3g} GiB does not fit into data.cache_gib={self.max_bytes / 2**30:.3g}; raise it well above a shard"
            )
        deadline_s = time.monotonic() + ROOM_TIMEOUT_S
        while True:
            with self._counting():
                if self._evict(self.max_bytes - wanted.num_bytes):
                    os.truncate(turn.descriptor, wanted.num_bytes)
                    return True
            if not wait:
                return False
            if time.monotonic() > deadline_s:
                raise MachineError(f"no room in {self.folder} for {ROOM_TIMEOUT_S:.0f} s, all {self.num_bytes()} bytes are in use; raise data.cache_gib")
            time.sleep(_PAUSE_S)

    def _evict(self, limit: int) -> bool:
        """Delete files not in use, those used longest ago first, until at most `limit` bytes are held; whether that was reached."""
        held = self._held()
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total <= limit:
                break
            if _unlink_unused(path):
                total -= size
        return total <= limit

    def _held(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file held or being fetched."""
        found = []
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        return found

    @contextmanager
    def _counting(self) -> Iterator[None]:
        lock = os.open(self.folder / _ROOM, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _machine_errors(self) -> Iterator[None]:
        try:
            yield
        except McdistError:
            raise
        except OSError as error:
            raise MachineError(f"cannot keep shards in {self.folder} ({error.strerror or error}); name another data.cache_dir or data.stage_to") from error


def check_free(folder: Path, *, num_bytes: int) -> None:
    """MachineError where the disk of `folder` has less than `num_bytes` left."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise MachineError(
            f"staging needs {num_bytes / 2**30:.3g} GiB in {folder}, {free / 2**30:.3g} GiB are free; name another data.stage_to, or use data.cache_dir"
        )


def _unlink_unused(path: Path) -> bool:
    """Delete a file that nobody has locked; a `.part` that nobody has locked is what a killed process left, with its download."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        if not _is_same(path, descriptor):
            return False
        if path.suffix == _PART:
            path.with_suffix(_DOWNLOAD).unlink(missing_ok=True)
        path.unlink()
        return True
    finally:
        os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""Thumbnails: a small picture of each object, made once and kept in one file that grows, beside an index of where each is.

The pictures are appended; an entry of the index is written after its picture. So a process that is killed leaves at most a picture that nobody finds,
and two processes that make the same one keep both and use the later.
"""

import fcntl
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy

from mcdist.errors import MachineError

PACK_NAME, INDEX_NAME = "thumbnails.pack", "thumbnails.index"

BYTES_MAX = 2**20
"""Of one picture; an entry that says more is damaged."""

_ENTRY = numpy.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])


class Thumbnails:
    """Pictures by object, in `folder`, which is made. Any number of threads and processes may use it at once."""

    def __init__(self, folder: Path, *, num_objects: int) -> None:
        """MachineError where the folder cannot be made or the files in it cannot be opened."""
        self.num_objects = num_objects
        self._lock = threading.Lock()
        self._open: list[int] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (PACK_NAME, INDEX_NAME):
                self._open.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        except OSError as error:
            raise MachineError(f"cannot keep thumbnails in {folder}: {error.strerror}; check its permissions, or free some space") from error
        self._pack, self._index = self._open

    def get(self, row: int) -> bytes | None:
        """The picture of an object; None where it was not made yet, or is damaged."""
        entry = numpy.frombuffer(os.pread(self._index, _ENTRY.itemsize, row * _ENTRY.itemsize).ljust(_ENTRY.itemsize, b"\0"), dtype=_ENTRY)[0]
        offset, length, crc = (int(entry[name]) for name in ("offset", "length", "crc"))
        if not 0 < length <= BYTES_MAX or offset >= 2**62:
            return None
        picture = os.pread(self._pack, length, offset)
        return picture if len(picture) == length and zlib.crc32(picture) == crc else None

    def put(self, pictures: Mapping[int, bytes]) -> None:
        """Keep the pictures of some objects; MachineError where the disk refuses."""
        try:
            with self._lock:
                fcntl.flock(self._pack, fcntl.LOCK_EX)
                try:
                    self._append(pictures)
                finally:
                    fcntl.flock(self._pack, fcntl.LOCK_UN)
        except OSError as error:
            raise MachineError(f"cannot keep a thumbnail: {error.strerror}; free some space") from error

    def __del__(self) -> None:
        """Let go of the files."""
        for descriptor in self._open:
            os.close(descriptor)

    def _append(self, pictures: Mapping[int, bytes]) -> None:
        offset = os.fstat(self._pack).st_size
        for row, picture in pictures.items():
            assert 0 <= row < self.num_objects and 0 < len(picture) <= BYTES_MAX
            _write_all(self._pack, picture, offset=offset)
            entry = numpy.array([(offset, len(picture), zlib.crc32(picture))], dtype=_ENTRY)
            _write_all(self._index, entry.tobytes(), offset=row * _ENTRY.itemsize)
            offset += len(picture)


def _write_all(descriptor: int, content: bytes, *, offset: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], offset + done)

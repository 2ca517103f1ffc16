"""The shim in shim.c: a library that is preloaded into a process, counts its calls that change files below a folder, and acts at one of them."""

import mmap
import os
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
_LAYOUT = struct.Struct("=iiqqqq4096s")
"""`struct plan` of shim.c: action, error, at, seen, fired, clock_s, root."""
_SEEN, _FIRED, _CLOCK_S = 16, 24, 32


class Action(IntEnum):
    """What happens at the call that is struck; the order is that of shim.c."""

    NOTHING = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_HALFWAY = 3
    """Of a write, half is done."""
    FAIL_ONCE = 4
    FAIL_ON = 5
    """This call and all later ones; where the disk is full, calls that free space or rename still succeed."""


def build_shim(folder: Path) -> Path:
    """Compile the shim into `folder`. Raises CalledProcessError without a C compiler."""
    library = folder / "shim.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class Plan:
    """A page of memory that a preloaded process and its children follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _LAYOUT.size)

    def arm(self, root: Path, *, action: Action = Action.NOTHING, at: int = 0, error: int = 0) -> None:
        """Count the changes below `root` from 1, and do `action` at number `at`; 0: only count."""
        self._page[: _LAYOUT.size] = _LAYOUT.pack(action, error, at, 0, 0, 0, os.fsencode(root))

    def disarm(self) -> None:
        """Nothing is counted any more."""
        self._page[: _LAYOUT.size] = bytes(_LAYOUT.size)

    def set_clock_wrong_by(self, seconds: int) -> None:
        """The wall clock of all that follow the plan jumps by so many seconds, now."""
        self._page[_CLOCK_S : _CLOCK_S + 8] = struct.pack("=q", seconds)

    @property
    def num_seen(self) -> int:
        """Changes since it was armed."""
        return self._number(_SEEN)

    @property
    def num_fired(self) -> int:
        """Changes that were struck."""
        return self._number(_FIRED)

    def _number(self, place: int) -> int:
        (number,) = struct.unpack("=q", self._page[place : place + 8])
        return int(number)

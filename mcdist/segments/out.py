"""SegmentFolder: the files that segmenting writes, and how a stopped one finds what it had finished.

    classes.json               what the segments were made of, and the classes with their colours; written first
    maps/REL.png               class ids, with a palette
    overlays/REL.jpg           for people
    segments/REL.json          written last of each photo: its presence means done
    not_segmented-K-of-N.json  photos that could not be segmented, with the reason; only if there were any

REL is the photo's path below the folder that was segmented, its suffix included, so that no two photos write one file.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.errors import ConfigError, MachineError, differing
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically
from mcdist.segments.segmented import FORMAT

CLASSES_FORMAT = "mcdist classes 1"


@dataclass(frozen=True, slots=True)
class SegmentFolder:
    """Naming it makes nothing. `with_overlays`: whether a photo needs its overlay to be done."""

    root: Path
    with_overlays: bool = True

    @property
    def classes(self) -> Path:
        """What the segments were made of, and the classes."""
        return self.root / "classes.json"

    def map(self, photo: str) -> Path:
        """The class map of a photo."""
        return self.root / "maps" / f"{photo}.png"

    def overlay(self, photo: str) -> Path:
        """The photo with its segments drawn."""
        return self.root / "overlays" / f"{photo}.jpg"

    def segments(self, photo: str) -> Path:
        """The photo's segments."""
        return self.root / "segments" / f"{photo}.json"

    def not_segmented(self, part: int, *, num_parts: int) -> Path:
        """What became of the photos that could not be segmented."""
        return self.root / f"not_segmented-{part}-of-{num_parts}.json"

    def open(self, about: dict[str, Any], *, same: Sequence[str], overwrite: bool) -> None:
        """Make the folder ready, and write classes.json. `same`: keys of `about` in which segments that are there must agree.

        Raises:
            ConfigError: it holds segments of another run, catalogue or settings and `overwrite` is off, or other files.
            MachineError: it cannot be made.
        """
        there = self._about()
        if there is None and self.root.is_dir() and any(not path.name.startswith(".") for path in self.root.iterdir()):
            raise ConfigError(f"expected an empty folder or one of segments at {self.root}, found files that mcdist did not segment; choose another --out")
        if overwrite and there is not None:
            self.classes.unlink(missing_ok=True)
            for name in ("segments", "maps", "overlays"):
                shutil.rmtree(self.root / name, ignore_errors=True)
        elif there is not None and (shown := differing(there, about, names=same)):
            raise ConfigError(f"{self.root} holds other segments ({shown}); choose another --out, or replace them with --overwrite")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot make the folder {self.root}: {error.strerror}; choose another --out") from error
        content = (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode()
        if there != about:
            write_atomically(self.classes, content)

    def is_done(self, photo: str, *, facts: dict[str, Any]) -> bool:
        """Whether the photo was segmented, and what is kept with its segments is `facts`: the photo and the classes are the same."""
        try:
            content = parse_json(self.segments(photo).read_bytes())
        except (OSError, ValueError):
            return False
        same = isinstance(content, dict) and content.get("format") == FORMAT and all(content.get(key) == value for key, value in facts.items())
        return same and _is_whole(self.map(photo)) and (not self.with_overlays or _is_whole(self.overlay(photo)))

    def write(self, photo: str, *, class_map: bytes, overlay: bytes | None, segments: dict[str, Any]) -> None:
        """The files of one photo, its segments last.

        Raises:
            MachineError: the disk refuses; what was finished stays for the next run.
        """
        _put(self.map(photo), class_map)
        if overlay is not None:
            _put(self.overlay(photo), overlay)
        _put(self.segments(photo), json.dumps(segments, ensure_ascii=False, separators=(",", ":")).encode())

    def write_not_segmented(self, reasons: dict[str, str], *, part: int, num_parts: int) -> Path | None:
        """The list of this part's photos that could not be segmented; None, and no file, where there are none."""
        path = self.not_segmented(part, num_parts=num_parts)
        if not reasons:
            path.unlink(missing_ok=True)
            return None
        listed = [{"photo": photo, "reason": reason} for photo, reason in sorted(reasons.items())]
        write_atomically(path, (json.dumps(listed, indent=1) + "\n").encode())
        return path

    def num_not_segmented(self, part: int, *, num_parts: int) -> int:
        """How many photos that list has; 0 where there is none."""
        try:
            return len(parse_json(self.not_segmented(part, num_parts=num_parts).read_bytes()))
        except (OSError, ValueError, TypeError):
            return 0

    def _about(self) -> dict[str, Any] | None:
        try:
            content = parse_json(self.classes.read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and content.get("format") == CLASSES_FORMAT else None


def _is_whole(path: Path) -> bool:
    """Whether a file is there and not empty, as after a power cut it may be."""
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116  # of a million files
    except OSError:
        return False


def _put(path: Path, content: bytes) -> None:
    """In a folder that is made where it is missing; several threads and processes may write into one at the same time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder {path.parent}: {error.strerror}; free some space, and run the same command again") from error
    write_atomically(path, content, flush=False)

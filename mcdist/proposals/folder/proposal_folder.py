"""ProposalFolder: the files of a folder of proposals, and how a stopped run finds what it had finished.

    a/b.png                one instance map a photo, under the photo's own path
    photos.jsonl           what became of each photo, in path order
    proposals.json         method, version, parameters, counts: written last, its presence means complete
    .proposals/            while unfinished: one journal a part, and masks being written

A journal holds one line a finished photo. Masks are not flushed to disk one by one, which would cost more than many a method: a resumed run compares
each with the checksum in its journal and makes it again where they differ.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.data.pictures.folder import stem_of
from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.proposals.folder.outcome import EMPTY, PROPOSED, PhotoOutcome, summarise
from mcdist.run_dir import write_atomically

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ProposalFolder:
    """Nothing is made by naming it. `confidence`: another folder, for the confidence maps (8-bit grey PNG, 255 is certain), where they are wanted."""

    root: Path
    confidence: Path | None = None

    @property
    def manifest(self) -> Path:
        """Method, version, parameters, counts."""
        return self.root / "proposals.json"

    @property
    def outcomes(self) -> Path:
        """One line a photo."""
        return self.root / "photos.jsonl"

    @property
    def unfinished(self) -> Path:
        """Journals and half-written files."""
        return self.root / ".proposals"

    def mask(self, photo: str) -> Path:
        """The mask of the photo at that relative path."""
        return self.root / f"{stem_of(photo)}.png"

    def confidence_map(self, photo: str) -> Path | None:
        """The photo's confidence map."""
        return None if self.confidence is None else self.confidence / f"{stem_of(photo)}.png"

    def journal(self, part: int, *, num_parts: int) -> Path:
        """The journal of part `part` of `num_parts`, counted from 1."""
        return self.unfinished / f"part-{part}-of-{num_parts}.jsonl"

    def open(self, about: dict[str, Any], *, overwrite: bool) -> None:
        """Make the folder ready for proposals by the method that `about` tells.

        Raises:
            ConfigError: it holds proposals of another method or of other parameters, or other files, and `overwrite` is off.
            MachineError: it cannot be made.
        """
        known = self.manifest if self.manifest.is_file() else self.unfinished / "about.json"
        if overwrite:
            self.manifest.unlink(missing_ok=True)
            self.outcomes.unlink(missing_ok=True)
            shutil.rmtree(self.unfinished, ignore_errors=True)
        elif known.is_file():
            there = self.read_manifest(known)
            different = [key for key in about if there.get(key) != about[key]]
            if different:
                shown = "; ".join(f"{key} is {there.get(key)!r} there, {about[key]!r} was asked for" for key in different)
                raise ConfigError(f"{self.root} holds other proposals ({shown}); choose another --out, or replace them with --overwrite")
        elif self.root.is_dir() and any(self.root.iterdir()):
            raise ConfigError(f"expected an empty folder or one of proposals at {self.root}, found other files; choose another --out, or --overwrite")
        try:
            self.unfinished.mkdir(parents=True, exist_ok=True)
            if not self.manifest.is_file():
                write_atomically(self.unfinished / "about.json", _json(about))
        except OSError as error:
            raise MachineError(f"cannot make the folder {self.root}: {error.strerror}; choose another --out") from error

    def read_manifest(self, path: Path | None = None) -> dict[str, Any]:
        """The content of proposals.json.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = path or self.manifest
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"expected proposals at {self.root} ({path.name}), it cannot be read ({error}); make them: mcdist proposals make") from error
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"{path} is not of schema version {SCHEMA_VERSION}; make the proposals again: mcdist proposals make ... --overwrite")
        return content

    def read_outcomes(self) -> dict[str, PhotoOutcome]:
        """What became of each photo, by its name: of the finished folder and of all journals. A line that was cut is none."""
        found: dict[str, PhotoOutcome] = {}
        for path in [self.outcomes, *sorted(self.unfinished.glob("part-*.jsonl"))]:
            found.update((outcome.photo, outcome) for outcome in _read_lines(path))
        return found

    def is_sound(self, outcome: PhotoOutcome) -> bool:
        """Whether the photo's mask lies there as it was written."""
        if not outcome.has_mask:
            return True
        try:
            content = self.mask(outcome.photo).read_bytes()
        except OSError:
            return False
        confidence = self.confidence_map(outcome.photo)
        return zlib.crc32(content) == outcome.mask_crc32 and (confidence is None or confidence.is_file() or outcome.confidence is None)

    def finish(self, outcomes: Iterable[PhotoOutcome], *, about: dict[str, Any]) -> dict[str, Any]:
        """Flush everything to disk, then write photos.jsonl and proposals.json, and clear what was unfinished. Gives the manifest."""
        listed = sorted(outcomes, key=lambda outcome: outcome.photo)
        not_proposed = [outcome for outcome in listed if outcome.outcome != PROPOSED and outcome.outcome not in EMPTY]
        manifest = {
            **about,
            **summarise(listed).to_dict(),
            "without_mask": [{"photo": outcome.photo, "outcome": outcome.outcome, "reason": outcome.reason} for outcome in not_proposed],
        }
        if hasattr(os, "sync"):
            os.sync()
        write_atomically(self.outcomes, "".join(outcome.to_line() for outcome in listed).encode())
        write_atomically(self.manifest, _json(manifest))
        shutil.rmtree(self.unfinished, ignore_errors=True)
        return manifest


def _read_lines(path: Path) -> Iterator[PhotoOutcome]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield PhotoOutcome.from_line(line)
        except ValueError:
            continue


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")

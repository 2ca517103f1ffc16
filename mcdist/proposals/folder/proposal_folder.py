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
from mcdist.data.pictures.map_file import read_map
from mcdist.errors import ConfigError, DataError, MachineError, differing
from mcdist.json_text import parse_json
from mcdist.proposals.folder.outcome import EMPTY, PROPOSED, PhotoOutcome, summarise
from mcdist.run_dir import write_atomically

SCHEMA_VERSION = 1
CONFIDENCE_OF = ".confidence.json"
"""In a folder of confidence maps: which proposals they are of."""


@dataclass(frozen=True, slots=True)
class ProposalFolder:
    """Naming it makes nothing. `confidence`: another folder, for the confidence maps (8-bit grey PNG, 255 is certain), where they are asked for."""

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
        """Make the folder ready for proposals by the method that `about` describes.

        Raises:
            ConfigError: it holds proposals of another method or of other parameters and `overwrite` is off, or other files; or so does `confidence`.
            MachineError: it cannot be made.
        """
        known = self.manifest if self.manifest.is_file() else self.unfinished / "about.json"
        if not known.is_file() and self.root.is_dir() and any(self.root.iterdir()):
            raise ConfigError(f"expected an empty folder or one of proposals at {self.root}, found files that mcdist did not propose; choose another --out")
        self._check_confidence(about, overwrite=overwrite)
        if overwrite:
            self.manifest.unlink(missing_ok=True)
            self.outcomes.unlink(missing_ok=True)
            shutil.rmtree(self.unfinished, ignore_errors=True)
        elif known.is_file():
            there = self.read_manifest(known)
            if shown := differing(there, about, names=about):
                raise ConfigError(f"{self.root} holds other proposals ({shown}); choose another --out, or replace them: mcdist proposals make ... --overwrite")
        try:
            self.unfinished.mkdir(parents=True, exist_ok=True)
            if self.confidence is not None:
                self.confidence.mkdir(parents=True, exist_ok=True)
                write_atomically(self.confidence / CONFIDENCE_OF, _json(about))
            if not self.manifest.is_file():
                write_atomically(self.unfinished / "about.json", _json(about))
        except OSError as error:
            raise MachineError(f"cannot make the folder {self.root}: {error.strerror}; choose another --out") from error

    def _check_confidence(self, about: dict[str, Any], *, overwrite: bool) -> None:
        """Confidence maps have the names of photos and masks: they replace nothing but confidence maps."""
        if self.confidence is None or not self.confidence.is_dir() or not any(self.confidence.iterdir()):
            return
        try:
            theirs = parse_json((self.confidence / CONFIDENCE_OF).read_text())
        except (OSError, ValueError):
            theirs = None
        if theirs is None or (theirs != about and not overwrite):
            raise ConfigError(
                f"--confidence must be an empty folder or one of confidence maps of these proposals, {self.confidence} holds other files; choose another folder"
            )

    def refuse_changed(self, outcomes: Iterable[PhotoOutcome]) -> None:
        """Raises ConfigError where masks of a finished folder were changed since: somebody mended them. One that is no PNG any more is damaged, not mended."""
        if not self.manifest.is_file():
            return
        changed = [outcome.photo for outcome in outcomes if outcome.has_mask and not self._has_own_mask(outcome) and _is_whole(self.mask(outcome.photo))]
        if changed:
            raise ConfigError(
                f"{len(changed)} masks in {self.root} were changed since they were proposed, the first {self.mask(changed[0]).name}; "
                f"to keep them use the folder as it is (build ... --masks {self.root}, without --proposals), to have them made again delete them"
            )

    def read_manifest(self, path: Path | None = None) -> dict[str, Any]:
        """The content of proposals.json.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = path or self.manifest
        try:
            content = parse_json(path.read_text())
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
        """Whether the photo's mask is there as it was written."""
        if not outcome.has_mask:
            return True
        confidence = self.confidence_map(outcome.photo)
        return self._has_own_mask(outcome) and (confidence is None or confidence.is_file() or outcome.confidence is None)

    def _has_own_mask(self, outcome: PhotoOutcome) -> bool:
        try:
            return zlib.crc32(self.mask(outcome.photo).read_bytes()) == outcome.mask_crc32
        except OSError:
            return False

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


def _is_whole(mask: Path) -> bool:
    try:
        read_map(mask.read_bytes())
    except (OSError, ValueError):
        return False
    return True


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

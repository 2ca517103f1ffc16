"""Outcome: what became of each photo, one line a photo, and the counts over all."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mcdist.errors import DataError
from mcdist.json_text import parse_json

PROPOSED = "proposed"
NOTHING_FOUND = "nothing found"
ONE_COLOUR = "of one colour"
TOO_SMALL = "shorter than 16 px on a side"
FAILED = "failed"
SAME_NAME = "same name but for the suffix as another"

EMPTY = (NOTHING_FOUND, ONE_COLOUR, TOO_SMALL)
"""These photos have a mask without an object; those of the other outcomes but `proposed` have none."""


@dataclass(frozen=True, slots=True)
class PhotoOutcome:
    """One photo: its name, size in bytes, the outcome, notes, objects, their share of the area and mean confidence, and checksums of its mask and its ends."""

    photo: str
    photo_bytes: int
    outcome: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    num_objects: int = 0
    foreground_share: float = 0.0
    confidence: float | None = None
    scores: tuple[float, ...] = ()
    mask_crc32: int | None = None
    photo_crc32: int | None = None

    @property
    def has_mask(self) -> bool:
        """Whether a mask was written, be it an empty one."""
        return self.mask_crc32 is not None

    def to_line(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True, separators=(",", ":")) + "\n"

    @staticmethod
    def from_line(line: str) -> "PhotoOutcome":
        """Inverse of `to_line`; ValueError for a line that was cut."""
        try:
            content = parse_json(line)
            return PhotoOutcome(**{**content, "notes": tuple(content["notes"]), "scores": tuple(content["scores"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"no outcome: {line[:80]!r}") from error


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over many photos: by outcome, by note, and by number of objects."""

    num_photos: int
    outcomes: dict[str, int]
    notes: dict[str, int]
    num_objects: dict[int, int]
    mean_foreground_share: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "num_photos": self.num_photos,
            "outcomes": self.outcomes,
            "notes": self.notes,
            "objects_per_photo": {str(number): count for number, count in self.num_objects.items()},
            "mean_foreground_share": round(self.mean_foreground_share, 4),
        }


def summarise(outcomes: Iterable[PhotoOutcome]) -> Summary:
    """The counts, each dictionary in the order of its keys."""
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    num_objects: Counter[int] = Counter()
    share = 0.0
    for outcome in outcomes:
        counts[outcome.outcome] += 1
        notes.update(outcome.notes)
        if outcome.outcome == PROPOSED:
            num_objects[outcome.num_objects] += 1
            share += outcome.foreground_share
    return Summary(
        num_photos=sum(counts.values()),
        outcomes=dict(sorted(counts.items(), key=lambda pair: (pair[0] != PROPOSED, pair[0]))),
        notes=dict(sorted(notes.items())),
        num_objects=dict(sorted(num_objects.items())),
        mean_foreground_share=share / max(counts[PROPOSED], 1),
    )


def check_not_all_failed(outcomes: Iterable[PhotoOutcome], *, num_photos: int) -> None:
    """Raises DataError where a method fails again and again: more than 20 photos and more than 5 % of all, or every one. Then it is the method, not a photo."""
    failed = [outcome for outcome in outcomes if outcome.outcome == FAILED]
    if failed and (len(failed) > max(20, 0.05 * num_photos) or len(failed) == num_photos):
        first = failed[0]
        raise DataError(
            f"the method failed on {len(failed)} of {num_photos:,} photos; the first, {first.photo}: {first.reason} "
            "(mend it and run the same command again: finished photos are kept)"
        )

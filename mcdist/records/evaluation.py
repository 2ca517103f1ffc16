"""Evaluation: what protocols found about a run, as rows of one type. No logger is known here; reports are views of these."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from mcdist.errors import DataError, reason
from mcdist.json_text import parse_json
from mcdist.records.draws import interval_of, packed, unpacked

SCHEMA_VERSION = 3
READABLE = (2, SCHEMA_VERSION)
"""Version 2 had neither draws nor the photos' digest."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged: features of `encoder`, over the objects of `masks`; names of `mcdist.records.names`. Empty `masks`: whole photos."""

    encoder: str
    masks: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One result: under `protocol`, `subject` reached `values` of `metric` in `unit` ("%" or ""), one value a repetition (a seed).

    `details` holds whatever else the protocol has to say, as plain JSON values (lists, not tuples). `draws`: the score, mean over the repetitions, of each
    bootstrap resampling of the photos (`mcdist.evaluate.metrics.bootstrap`), float32; the same place of two rows over the same photos is the same
    resampling. Empty where the protocol keeps no counts by photo.
    """

    protocol: str
    subject: Subject
    metric: str
    unit: str
    values: tuple[float, ...]
    details: dict[str, Any] = field(default_factory=dict)
    draws: tuple[float, ...] = ()

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval over photos; None where it is not known."""
        return interval_of(self.draws)

    @property
    def num_clusters(self) -> int:
        """K of the clustering behind the row; 0 where nothing was clustered."""
        return int(self.details.get("num_clusters", 0))

    @property
    def mean(self) -> float:
        """Mean over the repetitions; 0 without one."""
        return float(numpy.mean(self.values)) if self.values else 0.0

    @property
    def std(self) -> float:
        """Standard deviation over the repetitions (population); 0 without one."""
        return float(numpy.std(self.values)) if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything `mcdist evaluate` found.

    `headline` is the index in `rows` of the row to quote. `protocols`: the switches of each protocol that judged, by its name. `settings`: how photos
    became object vectors, and what was left out. `classes`: the ground truth's, background first; without `has_truth` background and clusters by number.
    """

    step: int
    dataset: str
    has_truth: bool
    classes: tuple[str, ...]
    num_photos: int
    num_photos_in_dataset: int
    mask_iou_percent: dict[str, float]
    """Foreground IoU of each set of masks with the ground truth."""
    rows: tuple[Row, ...]
    headline: int
    protocols: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    wall_s: float
    photos: str = ""
    """SHA-256 of the judged photos' keys: rows of two evaluations are paired by photos only where it is the same. Empty where it is not known."""

    def to_json(self) -> str:
        """The evaluation as JSON text; each row also says its interval."""
        content = asdict(self)
        for row, found in zip(content["rows"], self.rows, strict=True):
            row |= {"interval": found.interval, "draws": packed(found.draws)}
        return json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=1)

    @staticmethod
    def from_json(text: str, *, where: str) -> "Evaluation":
        """Inverse of `to_json`.

        Raises:
            DataError: `text` is not an evaluation, or is one of another schema version.
        """
        try:
            content = parse_json(text)
            version = content.pop("schema_version", 1)
        except (ValueError, AttributeError, TypeError) as error:
            raise _refused(where, error) from error
        if version not in READABLE and "step" in content:
            readable = " and ".join(map(str, READABLE))
            raise DataError(f"{where} has schema version {version}, this mcdist reads {readable}; write it again with: mcdist evaluate RUN")
        try:
            rows = tuple(_row(**row) for row in content.pop("rows"))
            return Evaluation(**{**content, "classes": tuple(content["classes"])}, rows=rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _refused(where, error) from error


def _row(*, subject: dict[str, str], values: list[float], draws: str = "", interval: object = None, **others: Any) -> Row:
    """`interval` is there for people; it follows from the draws."""
    return Row(subject=Subject(**subject), values=tuple(float(value) for value in values), draws=unpacked(draws), **others)


def _refused(where: str, error: Exception) -> DataError:
    return DataError(f"{where} is not an evaluation that this mcdist wrote ({reason(error)}); run: mcdist evaluate RUN")

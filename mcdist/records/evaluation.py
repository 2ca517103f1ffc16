"""Evaluation: what protocols found about a run, as rows of one type. No logger is known here; reports are views of these."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from mcdist.errors import DataError, reason

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged: features of `encoder`, over the objects of `masks`; names of `mcdist.records.names`. Empty `masks`: whole photos."""

    encoder: str
    masks: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One result: under `protocol`, `subject` reached `values` of `metric` in `unit` ("%" or ""), one value a repetition (a seed).

    `details` holds whatever else the protocol has to say, as plain JSON values (lists, not tuples).
    """

    protocol: str
    subject: Subject
    metric: str
    unit: str
    values: tuple[float, ...]
    details: dict[str, Any] = field(default_factory=dict)

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

    def to_json(self) -> str:
        """The evaluation as JSON text."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1)

    @staticmethod
    def from_json(text: str, *, where: str) -> "Evaluation":
        """Inverse of `to_json`.

        Raises:
            DataError: `text` is not an evaluation, or is one of another schema version.
        """
        try:
            content = json.loads(text)
            version = content.pop("schema_version", 1)
        except (ValueError, AttributeError, TypeError) as error:
            raise _refused(where, error) from error
        if version != SCHEMA_VERSION and "step" in content:
            raise DataError(f"{where} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; write it again with: mcdist evaluate RUN")
        try:
            rows = tuple(_row(**row) for row in content.pop("rows"))
            return Evaluation(**{**content, "classes": tuple(content["classes"])}, rows=rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _refused(where, error) from error


def _row(*, subject: dict[str, str], values: list[float], **others: Any) -> Row:
    return Row(subject=Subject(**subject), values=tuple(float(value) for value in values), **others)


def _refused(where: str, error: Exception) -> DataError:
    return DataError(f"{where} is not an evaluation that this mcdist wrote ({reason(error)}); run: mcdist evaluate RUN")

"""Rows: finished fine-tunings as the rows of an evaluation, a value a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from mcdist.evaluate.metrics.labels import LabelMap
from mcdist.evaluate.protocols.pixel_row import PixelCounts, pixel_row
from mcdist.evaluate.truth import Truth
from mcdist.finetune.folder import TuneResult
from mcdist.finetune.protocols import ABSENT, fraction_name
from mcdist.records import Row
from mcdist.records.names import LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED


def linear_rows(results: Mapping[str, Sequence[TuneResult]], *, names: Sequence[str], truth: Truth) -> list[Row]:
    """By protocol, a row for each start; `results`: by start, one a seed. Details: the epoch that counts and the mIoU of every epoch, for each seed."""
    rows = []
    for name in (LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED):
        for start, found in results.items() if name in names else ():
            published = name == LINEAR_EXACT_PUBLISHED
            facts: dict[str, Any] = {**_facts(found), **({"miou_percent_of_epochs": [list(one.miou_percent_of_epochs) for one in found]} if published else {})}
            facts["epoch"] = [one.best_epoch if published else facts["num_epochs"] for one in found]
            rows.append(_row(name, start, counts=[one.best if published else one.last for one in found], truth=truth, facts=facts))
    return rows


def fraction_rows(results: Mapping[float, Mapping[str, Sequence[TuneResult]]], *, truth: Truth) -> list[Row]:
    """By fraction from the largest, a row for each start; `results`: by fraction in %, by start, one a seed."""
    return [
        _row(fraction_name(percent), start, counts=[one.last for one in found], truth=truth, facts={"fraction_percent": percent, **_facts(found)})
        for percent, by_start in sorted(results.items(), reverse=True)
        for start, found in by_start.items()
    ]


def truth_of(labels: LabelMap, *, present: Sequence[str]) -> Truth:
    """What a row says about classes: those that the judged photos show, and background."""
    kept = [place for place, name in enumerate(labels.names) if place == 0 or name in present]
    return Truth(labels=labels, kept=numpy.array(kept), counts={}, num_photos_without=0)


def _row(name: str, start: str, *, counts: Sequence[PixelCounts], truth: Truth, facts: dict[str, Any]) -> Row:
    return pixel_row(name, start, found=counts, absent=ABSENT, truth=truth, facts=facts)


def _facts(found: Sequence[TuneResult]) -> dict[str, Any]:
    """What is the same for each seed, and what is not as a list."""
    first = found[0]
    return {
        "num_photos_fitted": first.num_photos,
        "num_steps": first.num_steps,
        **({"num_epochs": first.num_epochs} if first.num_epochs else {}),
        "skipped_steps": [one.skipped_steps for one in found],
        "classes_without_a_label": [list(one.absent) for one in found],
    }

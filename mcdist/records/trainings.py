"""Trainings: several trainings of one setting, evaluated alike, as one evaluation whose values are the trainings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy

from mcdist.errors import DataError
from mcdist.records.evaluation import Evaluation, Row

Key = tuple[str, str, str, str, int]


def group_key(row: Row) -> Key:
    """What rows have in common that differ by the encoder alone: masks, protocol, metric, pooling and number of clusters."""
    return row.subject.masks, row.protocol, row.metric, str(row.details.get("pooling", "")), row.num_clusters


def row_key(row: Row) -> tuple[Key, str]:
    """`group_key` and the encoder: rows of two evaluations with the same one measured the same."""
    return group_key(row), row.subject.encoder


def same_photos(one: Evaluation, *, other: Evaluation) -> bool:
    """Whether both evaluations are known to have judged the same photos, so that draws may be paired."""
    return one.photos != "" and (one.photos, one.num_photos) == (other.photos, other.num_photos)


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several trainings: the rows that all have, a value for each training (its mean over clusterings), in the order given.

    Draws are the mean over trainings where all saw the same photos. IoU of each class is the mean, confusions are added; other details are the first's.

    Raises:
        DataError: no evaluation, or no row in common.
    """
    if len(evaluations) == 1:
        return evaluations[0]
    tables = [{row_key(row): row for row in evaluation.rows} for evaluation in evaluations]
    keys = [key for key in tables[0] if all(key in table for table in tables)] if tables else []
    if not keys:
        raise DataError("the evaluations have no row in common; give runs of one configuration, evaluated alike")
    first = evaluations[0]
    paired = all(same_photos(first, other=other) for other in evaluations)
    rows = tuple(_pooled_row([table[key] for table in tables], paired=paired) for key in keys)
    quoted = row_key(first.rows[first.headline]) if 0 <= first.headline < len(first.rows) else None
    return replace(first, rows=rows, headline=keys.index(quoted) if quoted in keys else -1, photos=first.photos if paired else "")


def _pooled_row(rows: Sequence[Row], *, paired: bool) -> Row:
    draws = [row.draws for row in rows]
    can_pair = paired and len({len(one) for one in draws}) == 1
    return replace(
        rows[0],
        values=tuple(row.mean for row in rows),
        draws=tuple(numpy.mean(draws, axis=0).tolist()) if can_pair else (),
        details={**rows[0].details, **_merged(rows, "class_iou_percent", numpy.mean), **_merged(rows, "confusion", numpy.sum)},
    )


def _merged(rows: Sequence[Row], name: str, merge: Any) -> dict[str, Any]:
    """One detail over all rows; nothing where it has another size in one, as where a training never saw a class."""
    found = [numpy.array(row.details[name]) for row in rows if name in row.details]
    if len({one.shape for one in found}) != 1:
        return {}
    return {name: merge(found, axis=0).tolist()}

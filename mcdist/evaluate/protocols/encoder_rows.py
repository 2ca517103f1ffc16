"""EncoderRows: a patch protocol's rows, one for each encoder; encoders with the very same feature maps are judged once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcdist.evaluate.metrics.confusion import Absent
from mcdist.evaluate.protocols.patch_pieces import judged_encoders
from mcdist.evaluate.protocols.pixel_row import PixelCounts, pixel_row
from mcdist.evaluate.view import StoreView
from mcdist.records import Row, Subject
from mcdist.records.names import MIOU


@dataclass(frozen=True, slots=True)
class Judged:
    """What one encoder reached by one metric: the counts of each repetition, and facts for the row's details."""

    repetitions: Sequence[PixelCounts]
    facts: dict[str, Any]
    metric: str = MIOU


def encoder_rows(protocol: str, *, store: StoreView, absent: Absent, judge: Callable[[str], list[Judged]]) -> list[Row]:
    """The rows of every encoder whose feature maps the store holds, by metric and then encoder; `judge` takes an encoder's name."""
    rows: dict[str, list[Row]] = {}
    for encoder, same in judged_encoders(store).items():
        if encoder in rows or same != encoder:
            rows[encoder] = [replace(row, subject=Subject(encoder)) for row in rows[same]]
        else:
            rows[encoder] = [_row(protocol, encoder, found, absent=absent, store=store) for found in judge(encoder)]
    return [row for of_metric in zip(*rows.values(), strict=True) for row in of_metric]


def _row(protocol: str, encoder: str, found: Judged, *, absent: Absent, store: StoreView) -> Row:
    row = pixel_row(protocol, encoder, found=found.repetitions, absent=absent, truth=store.known_truth, facts=found.facts)
    return replace(row, metric=found.metric)

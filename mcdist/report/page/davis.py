"""The page of followed videos: one self-contained file with the table, each video's score, and the animations."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcdist.errors import DataError
from mcdist.records import Row
from mcdist.report.page.templates import template
from mcdist.report.video_table import HEADINGS, video_cells

MAX_ANIMATION_BYTES = 9_000_000
"""Of a page's animations as text, so that it stays below 10 MB."""


@dataclass(frozen=True, slots=True)
class Animation:
    """A video, J&F in % of it by encoder, none where it could not be scored, and its animation as a data URL."""

    video: str
    score_percent: dict[str, float]
    source: str


def davis_page(rows: Sequence[Row], *, title: str, lead: str, animated: Sequence[tuple[str, Path]], unscored: dict[str, str]) -> str:
    """The page as HTML. `animated`: videos with their WebP, in order; those beyond MAX_ANIMATION_BYTES are named only. `unscored`: the others, and why.

    Raises:
        DataError: an animation cannot be read.
    """
    shown: list[Animation] = []
    left_out: list[str] = []
    num_bytes = 0
    for video, path in animated:
        source = _source(path)
        if num_bytes + len(source) > MAX_ANIMATION_BYTES:
            left_out.append(video)
            continue
        num_bytes += len(source)
        scores = {row.subject.encoder: row.details["by_video_percent"].get(video) for row in rows}
        shown.append(Animation(video, {encoder: score for encoder, score in scores.items() if score is not None}, source))
    return template("davis.html.jinja").render(
        title=title,
        lead=lead,
        headings=HEADINGS,
        lines=[(row.subject.encoder, video_cells(row, rows=rows)) for row in rows],
        videos=[(video, [row.details["by_video_percent"][video] for row in rows]) for video in rows[0].details["by_video_percent"]],
        animations=shown,
        left_out=left_out,
        unscored=unscored,
    )


def _source(path: Path) -> str:
    try:
        return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError as error:
        raise DataError(f"cannot read the animation {path}: {error.strerror}; run mcdist davis again") from error

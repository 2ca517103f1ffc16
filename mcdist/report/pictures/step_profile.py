"""The profile of a training step as a picture: a bar a part, and in it how much of the time a plain matrix product would have taken."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mcdist.records.step_profile import StepProfile
from mcdist.report.palette import BASELINE, TRAINED
from mcdist.report.profile_table import described

ROW_PX = 26
LEFT_PX = 190
BAR_PX = 420


@dataclass(frozen=True, slots=True)
class Bar:
    """One part: `width_px` of its time, `arithmetic_px` of what its arithmetic would take at the machine's matrix rate."""

    name: str
    y_px: float
    width_px: float
    arithmetic_px: float
    text: str


def step_profile_svg(profile: StepProfile) -> str:
    """An SVG without references to anything outside it, for a light and a dark page; the same profile gives the same bytes."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_suffix(".svg.jinja").read_text(encoding="utf-8"))
    bars = list(_bars(profile))
    return template.render(lines=described(profile), bars=bars, height=100 + ROW_PX * len(bars), left=LEFT_PX, time=TRAINED, arithmetic=BASELINE)


def _bars(profile: StepProfile) -> Iterator[Bar]:
    longest_ms = max((part.median_ms for part in profile.parts), default=0.0) or 1.0
    for place, part in enumerate(profile.parts):
        width_px = BAR_PX * part.median_ms / longest_ms
        yield Bar(
            name=part.name,
            y_px=96.0 + ROW_PX * place,
            width_px=width_px,
            arithmetic_px=width_px * min(1.0, profile.rate_percent(part) / 100),
            text=f"{part.median_ms:,.2f} ms, {profile.share_percent(part):.1f} %",
        )

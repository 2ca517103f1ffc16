"""Neighbour strips: an object, and in two rows its nearest objects before and after training."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mcdist.data.pictures.picture_png import QUICK_LEVEL, encode_picture_png
from mcdist.report.pictures.cut_out import Shown, cut_out
from mcdist.report.pictures.strips import write_strips

TITLES = ("the object", "nearest before training", "nearest after training")

_SIDE_PX, _GAP_PX, _TITLE_PX, _APART_PX = 116, 6, 20, 20
_TITLE_RGBA = (125, 135, 150, 255)
_OBJECT_PX = 2 * _SIDE_PX + _GAP_PX + _TITLE_PX


@dataclass(frozen=True, slots=True)
class ShownNeighbours:
    """An object and its nearest ones, each as its photo and its box there, nearest first."""

    shown: Shown
    before: Sequence[Shown]
    after: Sequence[Shown]


def save_neighbours(objects: Iterable[ShownNeighbours], folder: Path) -> list[Path]:
    """Write `object_NNN.png` for each object, from 1, and remove those of an earlier evaluation. Makes no folder where there is none to show."""
    strips = [(f"object_{number:03d}.png", neighbour_strip(one)) for number, one in enumerate(objects, start=1)]
    if not strips and not folder.exists():
        return []
    return write_strips(strips, folder=folder, what="neighbours", strips_in=neighbour_files)


def neighbour_files(folder: Path) -> list[Path]:
    """The strips in `folder`, in order; none where there is no folder."""
    return sorted(path for path in folder.glob("object_*.png") if re.fullmatch(r"object_\d{3,}\.png", path.name))


def neighbour_strip(one: ShownNeighbours) -> bytes:
    """The object on the left, its neighbours beside it: before training above, after it below. A PNG, transparent between the pictures."""
    num_columns = max(len(one.before), len(one.after), 2)
    width = _OBJECT_PX + _APART_PX + num_columns * (_SIDE_PX + _GAP_PX) - _GAP_PX
    strip = Image.new("RGBA", (width, _TITLE_PX + _OBJECT_PX))
    write: Callable[..., None] = ImageDraw.Draw(strip).text
    write((_OBJECT_PX / 2, 2), TITLES[0], fill=_TITLE_RGBA, font=ImageFont.load_default(13), anchor="ma")
    strip.paste(cut_out(one.shown, side_px=_OBJECT_PX), (0, _TITLE_PX))
    for row, (title, neighbours) in enumerate(zip(TITLES[1:], (one.before, one.after), strict=True)):
        top = row * (_TITLE_PX + _SIDE_PX + _GAP_PX)
        write((_OBJECT_PX + _APART_PX, top + 2), title, fill=_TITLE_RGBA, font=ImageFont.load_default(13), anchor="la")
        for place, shown in enumerate(neighbours):
            strip.paste(cut_out(shown, side_px=_SIDE_PX), (_OBJECT_PX + _APART_PX + place * (_SIDE_PX + _GAP_PX), top + _TITLE_PX))
    return encode_picture_png(strip, level=QUICK_LEVEL)

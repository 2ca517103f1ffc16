"""Retrieved strips: an object, and beside it the nearest objects of other photos, marked by whether they are of its class."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from mcdist.errors import DataError, reason
from mcdist.json_text import parse_json
from mcdist.report.palette import BASELINE, TRAINED, rgb
from mcdist.report.pictures.cut_out import Shown, cut_out
from mcdist.report.pictures.strips import write_strips
from mcdist.run_dir import write_atomically

NAMES = "classes.json"
"""The classes of each strip by its file name, the object's own first."""

RIGHT, WRONG = TRAINED, BASELINE
"""Blue and orange stay apart for every colour vision; a tick and a cross say the same without colour."""

_SIDE_PX, _GAP_PX, _TITLE_PX, _FRAME_PX, _APART_PX = 116, 8, 20, 4, 16
_TITLE_RGBA = (125, 135, 150, 255)


@dataclass(frozen=True, slots=True)
class ShownRetrieved:
    """An object and its nearest ones, nearest first, each as its photo and its box there, and with its class."""

    shown: Shown
    true_class: str
    nearest: Sequence[tuple[Shown, str]]


@dataclass(frozen=True, slots=True)
class RetrievedStrip:
    """A strip in a folder, and the classes of what it shows."""

    path: Path
    true_class: str
    nearest: tuple[str, ...]


def save_retrieved(objects: Iterable[ShownRetrieved], folder: Path) -> list[Path]:
    """Write `object_NNN.png` for each object, from 1, and the classes; remove those of an earlier evaluation. Makes no folder where there is none to show."""
    strips: list[tuple[str, bytes]] = []
    classes: dict[str, list[str]] = {}
    for number, one in enumerate(objects, start=1):
        name = f"object_{number:03d}.png"
        strips.append((name, retrieved_strip(one)))
        classes[name] = [one.true_class, *(name for _, name in one.nearest)]
    if not strips and not folder.exists():
        return []
    written = write_strips(strips, folder=folder, what="retrieved objects", strips_in=lambda root: sorted(root.glob("object_*.png")))
    write_atomically(folder / NAMES, json.dumps(classes, indent=1).encode())
    return written


def retrieved_strips(folder: Path) -> list[RetrievedStrip]:
    """The strips in `folder`, in order; none where there is no folder.

    Raises:
        DataError: the classes are damaged.
    """
    path = folder / NAMES
    try:
        content = {str(name): tuple(map(str, listed)) for name, listed in parse_json(path.read_bytes()).items()}
        return [RetrievedStrip(folder / name, listed[0], listed[1:]) for name, listed in sorted(content.items()) if (folder / Path(name).name).is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} does not hold the classes of retrieved objects ({reason(error)}); run: mcdist evaluate RUN") from error


def retrieved_strip(one: ShownRetrieved) -> bytes:
    """The object, then its nearest ones in frames of RIGHT or WRONG with a tick or a cross; the class above each. A PNG, transparent between the pictures."""
    step = _SIDE_PX + _GAP_PX
    strip = Image.new("RGBA", (step + _APART_PX + max(1, len(one.nearest)) * step - _GAP_PX, _TITLE_PX + _SIDE_PX))
    draw: Any = ImageDraw.Draw(strip)
    _write(draw, one.true_class, left=0)
    strip.paste(cut_out(one.shown, side_px=_SIDE_PX), (0, _TITLE_PX))
    for place, (shown, name) in enumerate(one.nearest):
        left, colour = (place + 1) * step + _APART_PX, rgb(RIGHT if name == one.true_class else WRONG)
        _write(draw, name, left=left)
        draw.rectangle((left, _TITLE_PX, left + _SIDE_PX - 1, _TITLE_PX + _SIDE_PX - 1), fill=(*colour, 255))
        strip.paste(cut_out(shown, side_px=_SIDE_PX - 2 * _FRAME_PX), (left + _FRAME_PX, _TITLE_PX + _FRAME_PX))
        _sign(draw, right=left + _SIDE_PX, bottom=_TITLE_PX + _SIDE_PX, is_right=name == one.true_class, colour=colour)
    content = io.BytesIO()
    strip.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _write(draw: Any, text: str, *, left: int) -> None:
    """The text above a picture, cut where it is wider than that."""
    font = ImageFont.load_default(13)
    length: Callable[..., float] = draw.textlength
    fitting = text
    while len(fitting) > 1 and length(fitting if fitting == text else f"{fitting}..", font=font) > _SIDE_PX:
        fitting = fitting[:-1]
    draw.text((left + _SIDE_PX / 2, 2), fitting if fitting == text else f"{fitting}..", fill=_TITLE_RGBA, font=font, anchor="ma")


def _sign(draw: Any, *, right: int, bottom: int, is_right: bool, colour: tuple[int, int, int]) -> None:
    """A tick or a cross, white on the frame's colour, in the corner."""
    left, top = right - 26, bottom - 26
    draw.rectangle((left, top, right - 1, bottom - 1), fill=(*colour, 255))
    lines = (((5, 14), (10, 19), (20, 7)),) if is_right else (((7, 7), (19, 19)), ((19, 7), (7, 19)))
    for line in lines:
        draw.line([(left + x, top + y) for x, y in line], fill=(255, 255, 255, 255), width=4, joint="curve")

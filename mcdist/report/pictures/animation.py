"""Animation: a video with the objects that were found in it, one picture beside the other for each encoder, as an animated WebP for a page."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mcdist.report.palette import class_colours, rgb
from mcdist.report.pictures.panels import outlined, tinted
from mcdist.run_dir import write_atomically

MAX_BYTES = 500_000
MAX_FRAMES = 30
FRAME_MS = 120
_WIDTH_PX, _TITLE_PX, _GAP_PX = 300, 20, 6
_TITLE_RGB, _GROUND_RGB = (70, 78, 90), (255, 255, 255)
_QUALITIES = (80, 65, 50, 35, 20)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the animation: its title, and the folder of its masks (FRAME.png)."""

    title: str
    masks: Path


def write_animation(frames: Sequence[Path], *, shown: Sequence[Shown], read: Callable[[Path], UInt8[numpy.ndarray, "_ _ 3"]], path: Path) -> None:
    """An endless loop of at most MAX_FRAMES frames, spread evenly, of at most MAX_BYTES: quality is lowered, then frames are halved, until it fits."""
    places = numpy.unique(numpy.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES)).round().astype(int)).tolist()
    pictures = [_picture(read(frames[place]), name=frames[place].stem, shown=shown) for place in places]
    write_atomically(path, _fitting(pictures))


def _fitting(pictures: list[Image.Image]) -> bytes:
    while True:
        for quality in _QUALITIES:
            content = _encoded(pictures, quality=quality)
            if len(content) <= MAX_BYTES:
                return content
        if len(pictures) == 1:
            return content
        pictures = pictures[::2]


def _encoded(pictures: list[Image.Image], *, quality: int) -> bytes:
    content = io.BytesIO()
    pictures[0].save(content, format="WEBP", save_all=True, append_images=pictures[1:], duration=FRAME_MS, loop=0, quality=quality, method=4)
    return content.getvalue()


def _picture(frame: UInt8[numpy.ndarray, "_ _ 3"], *, name: str, shown: Sequence[Shown]) -> Image.Image:
    """Two pictures a row, each with its title."""
    photo = Image.fromarray(frame)
    size = _WIDTH_PX, max(1, round(_WIDTH_PX * photo.height / photo.width))
    base = numpy.asarray(photo.resize(size, Image.Resampling.LANCZOS), dtype=numpy.float32)
    num_columns = min(2, len(shown))
    num_rows = -(-len(shown) // num_columns)
    whole = Image.new("RGB", (num_columns * (size[0] + _GAP_PX) - _GAP_PX, num_rows * (size[1] + _TITLE_PX)), _GROUND_RGB)
    draw: Callable[..., None] = ImageDraw.Draw(whole).text
    for place, one in enumerate(shown):
        left, top = place % num_columns * (size[0] + _GAP_PX), place // num_columns * (size[1] + _TITLE_PX)
        draw((left + size[0] / 2, top + 2), one.title, fill=_TITLE_RGB, font=ImageFont.load_default(13), anchor="ma")
        with Image.open(one.masks / f"{name}.png") as mask:
            numbers = numpy.asarray(mask.resize(size, Image.Resampling.NEAREST))
        whole.paste(Image.fromarray(_overlaid(base, numbers)), (left, top + _TITLE_PX))
    return whole


def _overlaid(base: numpy.ndarray, numbers: numpy.ndarray) -> UInt8[numpy.ndarray, "h w 3"]:
    colours = numpy.array([rgb(colour) for colour in class_colours(256)], dtype=numpy.float32)
    objects = numpy.where(numbers == 255, 0, numbers)
    picture = outlined(tinted(base, colours[objects], where=objects > 0), objects)
    return numpy.clip(numpy.rint(picture), 0, 255).astype(numpy.uint8)

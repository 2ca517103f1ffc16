"""Strip: what was searched for and the objects that were found, as one picture, in the format that its file's name says."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mcdist.data.pictures.picture_png import QUICK_LEVEL, encode_picture_png
from mcdist.errors import ConfigError
from mcdist.report.palette import TRAINED
from mcdist.report.pictures.cut_out import Shown, cut_out

SIDE_PX, GAP_PX, CAPTION_PX = 160, 8, 20
COLUMNS = 6
PAPER, INK = (250, 249, 246), (60, 60, 66)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 92
"""Of JPEG and WebP; a PNG keeps every pixel."""


def picture_format(path: Path) -> str:
    """The format that the ending of a file's name says; ConfigError where that is none of FORMATS."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out must end in {', '.join(FORMATS)}, which says the picture's format; got {path}")
    return FORMATS[path.suffix.lower()]


def search_strip(photo: UInt8[numpy.ndarray, "H W 3"], *, point: tuple[int, int], found: Sequence[tuple[Shown, str]], kind: str = "PNG") -> bytes:
    """The photo with a ring around the point, then each object cut out with its caption, COLUMNS a row; `kind` is one of FORMATS."""
    tiles = [(_with_ring(photo, point=point), "searched"), *((cut_out(shown, side_px=SIDE_PX), caption) for shown, caption in found)]
    num_rows = -(-len(tiles) // COLUMNS)
    step_x, step_y = SIDE_PX + GAP_PX, SIDE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * step_x + GAP_PX, num_rows * step_y + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for place, (tile, caption) in enumerate(tiles):
        x, y = GAP_PX + place % COLUMNS * step_x, GAP_PX + place // COLUMNS * step_y
        sheet.paste(tile, (x + (SIDE_PX - tile.width) // 2, y + (SIDE_PX - tile.height) // 2))
        draw.text((x + SIDE_PX // 2, y + SIDE_PX + CAPTION_PX // 2), _short(caption), fill=INK, font=font, anchor="mm")
    if kind == "PNG":
        return encode_picture_png(sheet, level=QUICK_LEVEL)
    content = io.BytesIO()
    sheet.save(content, format=kind, quality=QUALITY)
    return content.getvalue()


def _with_ring(photo: UInt8[numpy.ndarray, "H W 3"], *, point: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(numpy.ascontiguousarray(photo))
    scale = SIDE_PX / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS)
    x, y = (round((value + 0.5) * scale) for value in point)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline="white", width=4)
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=TRAINED, width=2)
    return picture


def _short(caption: str) -> str:
    return caption if len(caption) <= 26 else f"{caption[:24]}..."

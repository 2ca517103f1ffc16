"""The contact sheet: photos in a grid, each with its objects tinted and outlined, its key below."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Int16, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mcdist.components import VOID
from mcdist.errors import MachineError

TILE_PX = 200
CAPTION_PX = 18
GAP_PX = 8
PAPER = (250, 249, 246)
INK = (60, 60, 66)

OBJECT_COLOURS = (
    (230, 75, 60),
    (52, 152, 219),
    (241, 196, 15),
    (46, 204, 113),
    (155, 89, 182),
    (26, 188, 156),
    (230, 126, 34),
    (236, 112, 180),
)
VOID_COLOUR = (150, 150, 150)


@dataclass(frozen=True, slots=True)
class Tile:
    """One photo of the sheet, its instance map of the same size, and the text below it."""

    photo: UInt8[numpy.ndarray, "H W 3"]
    instances: Int16[numpy.ndarray, "H W"]
    caption: str


def write_contact_sheet(tiles: Sequence[Tile], *, path: Path, num_columns: int = 6) -> None:
    """Write `tiles` as one PNG; MachineError where the file cannot be written."""
    num_columns = min(num_columns, len(tiles))
    num_rows = -(-len(tiles) // num_columns)
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (num_columns * step_x + GAP_PX, num_rows * step_y + GAP_PX), PAPER)
    for index, tile in enumerate(tiles):
        _paste(sheet, tile=tile, x=GAP_PX + index % num_columns * step_x, y=GAP_PX + index // num_columns * step_y)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG")
    except OSError as error:
        raise MachineError(f"cannot write the contact sheet {path}: {error.strerror or error}; choose another with --sheet FILE.png") from error


def overlay(photo: UInt8[numpy.ndarray, "H W 3"], *, instances: Int16[numpy.ndarray, "H W"]) -> UInt8[numpy.ndarray, "H W 3"]:
    """The photo with every object tinted in a colour of its own and outlined; void is grey."""
    shown = photo.astype(numpy.float32)
    for number in numpy.unique(instances[instances != 0]).tolist():
        inside = instances == number
        colour = numpy.array(VOID_COLOUR if number == VOID else OBJECT_COLOURS[(number - 1) % len(OBJECT_COLOURS)], dtype=numpy.float32)
        shown[inside] = 0.6 * shown[inside] + 0.4 * colour
        shown[_outline(inside)] = colour
    return shown.round().astype(numpy.uint8)


def _outline(inside: numpy.ndarray) -> numpy.ndarray:
    shrunk = Image.fromarray(inside.astype(numpy.uint8) * 255).filter(ImageFilter.MinFilter(3))
    return inside & (numpy.asarray(shrunk) == 0)


def _paste(sheet: Image.Image, *, tile: Tile, x: int, y: int) -> None:
    height, width = tile.photo.shape[:2]
    scale = TILE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    photo = Image.fromarray(numpy.ascontiguousarray(tile.photo)).resize(size, Image.Resampling.LANCZOS)
    instances = Image.fromarray(tile.instances.astype(numpy.int32)).resize(size, Image.Resampling.NEAREST)
    shown = overlay(numpy.asarray(photo), instances=numpy.asarray(instances).astype(numpy.int16))
    sheet.paste(Image.fromarray(shown), (x + (TILE_PX - size[0]) // 2, y + TILE_PX - size[1]))
    caption = tile.caption if len(tile.caption) <= 30 else f"{tile.caption[:14]}...{tile.caption[-13:]}"
    font = ImageFont.load_default(size=11)
    ImageDraw.Draw(sheet).text((x + TILE_PX // 2, y + TILE_PX + CAPTION_PX // 2 + 1), caption, fill=INK, font=font, anchor="mm")

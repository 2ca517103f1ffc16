"""The contact sheet: photos in a grid, each with its objects tinted and outlined, its key below."""

from collections.abc import Sequence
from pathlib import Path

import numpy
from jaxtyping import Int16, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mcdist.data.sample import Sample
from mcdist.errors import MachineError
from mcdist.types import VOID

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


def write_contact_sheet(samples: Sequence[Sample], *, path: Path, num_columns: int = 6) -> None:
    """Write `samples` as one PNG; MachineError where the file cannot be written."""
    num_columns = min(num_columns, len(samples))
    num_rows = -(-len(samples) // num_columns)
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (num_columns * step_x + GAP_PX, num_rows * step_y + GAP_PX), PAPER)
    for index, sample in enumerate(samples):
        _paste(sheet, sample=sample, x=GAP_PX + index % num_columns * step_x, y=GAP_PX + index // num_columns * step_y)
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


def _paste(sheet: Image.Image, *, sample: Sample, x: int, y: int) -> None:
    scale = TILE_PX / max(sample.photo.shape[1:])
    size = (max(1, round(sample.photo.shape[2] * scale)), max(1, round(sample.photo.shape[1] * scale)))
    photo = Image.fromarray(sample.photo.permute(1, 2, 0).contiguous().numpy()).resize(size, Image.Resampling.LANCZOS)
    instances = Image.fromarray(sample.instances.numpy().astype(numpy.int32)).resize(size, Image.Resampling.NEAREST)
    tile = overlay(numpy.asarray(photo), instances=numpy.asarray(instances).astype(numpy.int16))
    sheet.paste(Image.fromarray(tile), (x + (TILE_PX - size[0]) // 2, y + TILE_PX - size[1]))
    caption = sample.key if len(sample.key) <= 30 else f"{sample.key[:14]}...{sample.key[-13:]}"
    font = ImageFont.load_default(size=11)
    ImageDraw.Draw(sheet).text((x + TILE_PX // 2, y + TILE_PX + CAPTION_PX // 2 + 1), caption, fill=INK, font=font, anchor="mm")

"""Drawing: a photo's segments in their classes' colours, as a map for programs and as an overlay for people."""

from functools import lru_cache

import numpy
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mcdist.data.pictures.resize import resize_nearest
from mcdist.report.palette import VOID, class_colours, rgb
from mcdist.segments.segmented import SegmentedPhoto

QUALITY = 88
TINT = 120
"""Of 256 parts, the class's colour in a segment."""
FONT_PX = 13
CLASS_VOID = 255


@lru_cache(maxsize=1)
def map_colours() -> UInt8[numpy.ndarray, "256 3"]:
    """A colour a class id: background black, as others' tools have it, void grey."""
    table = numpy.array([rgb(colour) for colour in class_colours(256)], dtype=numpy.uint8)
    table[0], table[CLASS_VOID] = 0, rgb(VOID)
    table.flags.writeable = False
    return table


def overlay_jpeg(photo: UInt8[numpy.ndarray, "y x 3"], *, segmented: SegmentedPhoto) -> bytes:
    """The photo, shrunk or not, with each segment tinted and outlined in the colour of its class and called by its name; the same bytes for the same input."""
    height, width = photo.shape[:2]
    instances = resize_nearest(segmented.instances, height=height, width=width)
    colour_of = numpy.zeros((int(instances.max(initial=0)) + 1, 3), dtype=numpy.uint8)
    for segment in segmented.segments:
        if segment.number < len(colour_of):
            colour_of[segment.number] = map_colours()[segment.class_id]
    shown = numpy.array(photo)
    inside = instances > 0
    colours = colour_of[instances[inside]]
    shown[inside] = (shown[inside].astype(numpy.uint16) * (256 - TINT) + colours.astype(numpy.uint16) * TINT) >> 8
    edge = _edges(instances) & inside
    shown[edge] = colour_of[instances[edge]]
    picture = Image.fromarray(shown)
    _write_names(picture, segmented=segmented, colour_of=colour_of)
    return simplejpeg.encode_jpeg(numpy.ascontiguousarray(numpy.asarray(picture)), quality=QUALITY, colorsubsampling="420")


def _edges(instances: numpy.ndarray) -> numpy.ndarray:
    edge = numpy.zeros(instances.shape, dtype=bool)
    across, down = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _write_names(picture: Image.Image, *, segmented: SegmentedPhoto, colour_of: numpy.ndarray) -> None:
    draw, font = ImageDraw.Draw(picture), _font()
    scale_x, scale_y = picture.width / segmented.width, picture.height / segmented.height
    for segment in segmented.segments:
        if segment.number >= len(colour_of):
            continue
        left, top, width, height = segment.box_xywh
        text = f"{segment.class_name} {100 * segment.confidence:.0f} %"
        x, y = (left + width / 2) * scale_x, (top + height / 2) * scale_y
        x0, y0, x1, y1 = draw.textbbox((x, y), text, font=font, anchor="mm")
        move_x, move_y = _into(x0, x1, limit=picture.width), _into(y0, y1, limit=picture.height)
        colour = tuple(colour_of[segment.number].tolist())
        draw.rectangle((x0 + move_x - 3, y0 + move_y - 2, x1 + move_x + 3, y1 + move_y + 2), fill=colour)
        draw.text((x + move_x, y + move_y), text, font=font, anchor="mm", fill="black" if sum(colour) > 380 else "white")


def _into(begin: float, end: float, *, limit: int) -> float:
    """How far a label moves to be inside the picture."""
    return -min(begin - 3, 0.0) if begin < 3 else -max(end + 3 - limit, 0.0)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=FONT_PX)

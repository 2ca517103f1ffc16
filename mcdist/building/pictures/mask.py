"""Mask files: grey or palette PNGs become instance maps; label PNGs become ground truth."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy
from jaxtyping import Int, Int16, UInt8
from PIL import Image

from mcdist.building.pictures.photo import first_line, open_picture
from mcdist.building.pictures.place import Place, read_place
from mcdist.components import VOID, connected_components
from mcdist.data.pictures.header import MAX_PIXELS
from mcdist.data.pictures.png import MAX_STORED_OBJECTS
from mcdist.errors import DataError

MaskValues = Literal["auto", "binary", "instances"]

MIN_COMPONENT_SHARE = 0.01
"""A connected part smaller than this share of the photo is no object of its own: it becomes void."""


@dataclass(frozen=True, slots=True)
class Instances:
    """An instance map (0 background, 1..num_objects, -1 void) and how many objects had to be left out because a shard holds only 254 a photo."""

    values: Int16[numpy.ndarray, "H W"]
    num_objects: int
    num_dropped: int = 0


def read_values(place: Place, *, what: str = "mask") -> Int[numpy.ndarray, "H W"]:
    """The raw numbers of a mask PNG: palette ids as they are, 8 or 16 bits; a colour PNG only where its channels agree.

    Raises:
        DataError: unreadable, or a colour picture.
    """
    with _opened(place, what=what) as image:
        if image.mode in ("RGB", "RGBA", "LA"):
            return _grey_of(numpy.asarray(image.convert("RGB")), place=place, what=what)
        values = numpy.asarray(image.convert("L") if image.mode == "1" else image)
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise DataError(f"the {what} {place} holds {values.dtype} values in {values.ndim} dimensions; save it as an 8- or 16-bit grey PNG")
    return values.astype(numpy.int32)


def read_colours(place: Place, *, what: str) -> UInt8[numpy.ndarray, "H W 3"]:
    """The colours of an 8-bit RGB PNG; DataError where it is no such picture."""
    with _opened(place, what=what) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise DataError(f"the {what} {place} is of mode {image.mode}, wanted an RGB PNG; take the original file")
        return numpy.asarray(image.convert("RGB"))


def instances_of(values: Int[numpy.ndarray, "H W"], *, mask_values: MaskValues, components: bool) -> Instances:
    """An instance map of a mask's raw numbers.

    `binary`: values above 127 are foreground (or 1, where nothing is higher), one object, or one for each connected part with `components`.
    `instances`: values are object ids; 255 is void (65535 where a 16-bit mask goes beyond 255). `auto`: binary where only 0 and 255 occur.
    """
    found = numpy.unique(values)
    if mask_values == "binary" or (mask_values == "auto" and set(found.tolist()) <= {0, 255}):
        foreground = values > 127 if values.max(initial=0) > 1 else values == 1
        return _parts_of(foreground) if components else Instances(values=foreground.astype(numpy.int16), num_objects=int(foreground.any()))
    return renumbered(values, void=65535 if found.max(initial=0) > 255 else 255)


def labels_of(values: Int[numpy.ndarray, "H W"], *, place: Place) -> UInt8[numpy.ndarray, "H W"]:
    """Ground truth ids 0..254 and 255 void; DataError where a label file holds more."""
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise DataError(f"the labels {place} hold ids from {values.min()} to {values.max()}, wanted 0..254 and 255 for void; map them to at most 255 classes")
    return values.astype(numpy.uint8)


def _parts_of(foreground: numpy.ndarray) -> Instances:
    labels, _ = connected_components(foreground)
    area = numpy.bincount(labels.ravel())
    large = [part for part in range(1, len(area)) if area[part] >= MIN_COMPONENT_SHARE * labels.size]
    ids = numpy.where(foreground, numpy.where(numpy.isin(labels, large), labels, 255 + len(area)), 0)
    return renumbered(ids, void=255 + len(area))


def renumbered(values: Int[numpy.ndarray, "H W"], *, void: int) -> Instances:
    """Ids become 1, 2, ... in their order; beyond 254 objects the largest stay and the rest become void. Ids are small: memory grows with the highest."""
    area = numpy.bincount(values.ravel(), minlength=void + 1)
    area[0] = area[void] = 0
    ids = numpy.flatnonzero(area)
    kept = numpy.sort(ids[numpy.argsort(-area[ids], kind="stable")[:MAX_STORED_OBJECTS]])
    table = numpy.full(len(area), VOID, dtype=numpy.int16)
    table[0] = 0
    table[kept] = numpy.arange(1, len(kept) + 1)
    return Instances(values=table[values], num_objects=len(kept), num_dropped=len(ids) - len(kept))


@contextmanager
def _opened(place: Place, *, what: str) -> Iterator[Image.Image]:
    """The picture at `place`, its size checked before a pixel is decoded; what goes wrong in decoding is a DataError too."""
    content = read_place(place, what=what)
    try:
        with open_picture(content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"the {what} {place} has {image.width} x {image.height} pixels, more than {MAX_PIXELS}; save it at its photo's size")
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"the {what} {place} cannot be read ({first_line(error)}); save it again as a PNG") from error


def _grey_of(pixels: UInt8[numpy.ndarray, "H W 3"], *, place: Place, what: str) -> Int[numpy.ndarray, "H W"]:
    if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
        raise DataError(f"the {what} {place} is a colour picture, wanted object ids; save it as a grey or palette PNG")
    return pixels[..., 0].astype(numpy.int32)

"""Mask files become instance maps, label files ground truth."""

from dataclasses import dataclass
from typing import Literal

import numpy
from jaxtyping import Int, Int16, UInt8

from mcdist.building.pictures.place import Place, read_place
from mcdist.components import VOID, connected_components
from mcdist.data.pictures.header import read_photo_header
from mcdist.data.pictures.map_file import read_map
from mcdist.data.pictures.photo import decode_with_pillow
from mcdist.data.pictures.png import MAX_STORED_OBJECTS
from mcdist.errors import DataError

MaskValues = Literal["auto", "binary", "instances"]

MIN_COMPONENT_SHARE = 0.01
"""A connected component smaller than this share of the photo is no object of its own: it becomes void."""

MAX_GREYS, INSIDE_MIN_SHARE = 2, 0.4
"""A mask of more numbers than the first, of which less than this share is inside an area of one number, is soft."""

RGB, RGBA = 2, 6
"""PNG's colour types."""


@dataclass(frozen=True, slots=True)
class Instances:
    """An instance map (0 background, 1..num_objects, -1 void) and how many objects had to be left out because a shard holds only 254 a photo."""

    values: Int16[numpy.ndarray, "H W"]
    num_objects: int
    num_dropped: int = 0


def read_values(place: Place, *, what: str = "mask", soft: bool = False) -> Int[numpy.ndarray, "H W"]:
    """The numbers of a map file, as `read_map` reads them.

    Raises:
        DataError: unreadable, or a layout without a meaning.
    """
    try:
        return read_map(read_place(place, what=what), soft=soft)
    except ValueError as error:
        raise DataError(f"the {what} {place} {error}") from error


def refuse_soft(values: Int[numpy.ndarray, "H W"], *, place: Place) -> None:
    """Raises DataError where a mask's numbers are grey levels of soft or noisy outlines: taken for ids, each grey would be an object.

    Ids form areas: most pixels of an object have its number to their right and below. Of a soft mask few have.
    """
    grey = (values > 0) & (values < 255)
    num_greys = len(numpy.unique(values[grey]))
    if values.max(initial=0) > 255 or num_greys <= MAX_GREYS:
        return
    inside = grey[:-1, :-1] & (values[:-1, :-1] == values[:-1, 1:]) & (values[:-1, :-1] == values[1:, :-1])
    if inside.sum() < INSIDE_MIN_SHARE * grey.sum():
        raise DataError(
            f"the mask {place} holds {num_greys} grey levels of a soft or noisy outline, expected areas of object ids; read such masks with "
            "--mask-values binary, or make objects of them first: mcdist proposals make files PHOTOS --option masks=DIR "
            "(--mask-values instances takes every number for an object)"
        )


def read_colours(place: Place, *, what: str) -> UInt8[numpy.ndarray, "H W 3"]:
    """The colours of an 8-bit RGB PNG; DataError where it is no such picture."""
    content = read_place(place, what=what)
    try:
        header = read_photo_header(content)
        if header.colour not in (RGB, RGBA):
            raise ValueError("is no RGB PNG; take the original file")
        return decode_with_pillow(content, mode="RGB")
    except ValueError as error:
        raise DataError(f"the {what} {place} {error}") from error


def instances_of(values: Int[numpy.ndarray, "H W"], *, mask_values: MaskValues, components: bool) -> Instances:
    """An instance map of a mask's raw numbers.

    `binary`: values above half are foreground (127 of 255, 32767 where a 16-bit mask exceeds 255, or 1 where nothing is higher): one object, or one for
    each connected component with `components`. `instances`: values are object ids; 255 is void (65535 where a 16-bit mask exceeds 255).
    `auto`: binary where only 0 and 255, or 0 and 65535, occur.
    """
    found = numpy.unique(values)
    highest = found.max(initial=0)
    if mask_values == "binary" or (mask_values == "auto" and (set(found.tolist()) <= {0, 255} or set(found.tolist()) == {0, 65535})):
        foreground = values == 1 if highest <= 1 else values > (127 if highest <= 255 else 32767)
        return _parts_of(foreground) if components else Instances(values=foreground.astype(numpy.int16), num_objects=int(foreground.any()))
    return renumbered(values, void=65535 if highest > 255 else 255)


def labels_of(values: Int[numpy.ndarray, "H W"], *, place: Place) -> UInt8[numpy.ndarray, "H W"]:
    """Ground truth ids 0..254 and 255 void; DataError where a label file holds more."""
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise DataError(f"the labels {place} hold ids from {values.min()} to {values.max()}, expected 0..254 and 255 for void; map them to at most 255 classes")
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

"""One photo's COCO annotations become maps: numbered objects, and the category of every pixel.

Where objects overlap, the smaller is on top: what covers little is in front far more often than behind, and a large object loses least. Crowds are
below all objects and void, since a crowd is not one object and its outline includes what is between its members.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from jaxtyping import Bool, Int32, UInt8

from mcdist.building.pictures.mask import Instances, read_colours, renumbered
from mcdist.building.pictures.photo import PhotoFile
from mcdist.building.source import hostile
from mcdist.building.sources.coco.file import read_annotations
from mcdist.building.sources.coco.rle import check_box, decode_segmentation
from mcdist.errors import DataError

Category = tuple[str, bool]
"""(name, whether it is a thing)."""

HIDDEN = "objects without a pixel of their own were left out"


@dataclass(frozen=True, slots=True)
class CocoMaps:
    """A photo's maps: `numbers` 0 background, 1 and on the objects in the file's order, `void`; `categories` 0 background, category ids, 255 void."""

    numbers: Int32[numpy.ndarray, "H W"]
    categories: UInt8[numpy.ndarray, "H W"]
    num_objects: int
    void: int

    def instances(self) -> tuple[Instances, tuple[str, ...]]:
        """The instance map of the visible objects, the largest 254, and what is worth a note."""
        found = renumbered(self.numbers, void=self.void)
        hidden = self.num_objects - found.num_objects - found.num_dropped
        return found, (HIDDEN,) if hidden else ()


def annotation_maps(file: Path, *, places: bytes, photo: PhotoFile, categories: dict[int, Category], with_categories: bool, min_score: float = 0.0) -> CocoMaps:
    """Maps of annotations with a segmentation each (instances, or scored proposals, those below `min_score` left out).

    Raises:
        DataError: the first annotation that is not sound.
    """
    layers = []
    for where, annotation in read_annotations(file, places=places):
        _check_annotation(annotation, photo=photo, categories=categories, with_categories=with_categories, where=where)
        if annotation.get("score", 1.0) >= min_score:
            mask = decode_segmentation(annotation.get("segmentation"), width=photo.width, height=photo.height, where=where)
            layers.append(_layer(mask.astype(bool), category=annotation["category_id"] if with_categories else 0, is_crowd=bool(annotation.get("iscrowd", 0))))
    return _flattened(layers, shape=(photo.height, photo.width))


def panoptic_maps(file: Path, *, places: bytes, folder: Path, photo: PhotoFile, categories: dict[int, Category]) -> CocoMaps:
    """Maps of a panoptic annotation: things are objects, stuff is background, what has no segment and crowds are void.

    Raises:
        DataError: no annotation or more than one, segments that are not sound, or a PNG that does not fit them or the photo.
    """
    found = list(read_annotations(file, places=places))
    if len(found) != 1:
        raise DataError(f"{file.name}: expected one panoptic annotation for the photo, found {len(found)}; correct the file")
    ((_, annotation),) = found
    name, segments = annotation.get("file_name"), annotation.get("segments_info")
    if not isinstance(name, str) or hostile(name) or not isinstance(segments, list):
        raise DataError(f"{file.name}: expected a panoptic annotation with file_name and segments_info, got {str(annotation)[:80]}; correct the file")
    colours = read_colours(folder / name, what="panoptic map").astype(numpy.int32)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    if ids.shape != (photo.height, photo.width):
        raise DataError(f"the panoptic map {folder / name} is {ids.shape[1]} x {ids.shape[0]}, its photo {photo.width} x {photo.height}; take the photo's own")
    return _panoptic(ids, segments=segments, categories=categories, where=f"{file.name}, panoptic map {name}")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A mask cut to its box: a thousand proposals a photo then take a thousand boxes, not a thousand photos."""

    box: tuple[slice, slice]
    mask: Bool[numpy.ndarray, "h w"]
    area: int
    category: int
    is_crowd: bool


def _layer(mask: Bool[numpy.ndarray, "H W"], *, category: int, is_crowd: bool) -> _Layer:
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(0), slice(0))
    return _Layer(box, mask[box].copy(), int(mask.sum()), category, is_crowd)


def _flattened(layers: list[_Layer], *, shape: tuple[int, int]) -> CocoMaps:
    numbers, categories = numpy.zeros(shape, dtype=numpy.int32), numpy.zeros(shape, dtype=numpy.uint8)
    void = len(layers) + 1
    order = sorted(range(len(layers)), key=lambda index: (not layers[index].is_crowd, -layers[index].area, index))
    for index in order:
        layer = layers[index]
        numbers[layer.box][layer.mask] = void if layer.is_crowd else index + 1
        categories[layer.box][layer.mask] = 255 if layer.is_crowd else layer.category
    return CocoMaps(numbers, categories, num_objects=sum(not layer.is_crowd for layer in layers), void=void)


def _check_annotation(annotation: dict[str, Any], *, photo: PhotoFile, categories: dict[int, Category], with_categories: bool, where: str) -> None:
    category, score = annotation.get("category_id"), annotation.get("score", 1.0)
    if with_categories or (categories and category is not None):
        _check_category(category, categories=categories, where=where)
    if type(score) not in (int, float) or not math.isfinite(score):
        raise DataError(f"{where}: the score is {str(score)[:40]!r}, expected a number; correct the annotation")
    check_box(annotation.get("bbox"), width=photo.width, height=photo.height, where=where)


def _check_category(category: Any, *, categories: dict[int, Category], where: str) -> None:
    if type(category) is not int or category not in categories:
        raise DataError(f"{where}: category_id {str(category)[:40]} is none of the file's {len(categories)} categories; correct the annotation")


def _panoptic(ids: Int32[numpy.ndarray, "H W"], *, segments: list, categories: dict[int, Category], where: str) -> CocoMaps:
    present, position = numpy.unique(ids, return_inverse=True)
    known = {}
    for segment in segments:
        if not isinstance(segment, dict) or type(segment.get("id")) is not int:
            raise DataError(f"{where}: expected segments with a whole `id`, got {str(segment)[:60]}; correct the file")
        _check_category(segment.get("category_id"), categories=categories, where=f"{where}, segment {segment['id']}")
        known[segment["id"]] = segment
    strange = next((number for number in present.tolist() if number and number not in known), None)
    if strange is not None:
        raise DataError(f"{where}: it holds the id {strange}, which none of its {len(known)} segments has; take the map that belongs to the file")
    objects = [number for number, segment in known.items() if _is_object(segment, categories=categories)]
    void = len(objects) + 1
    numbers = {number: index for index, number in enumerate(objects, start=1)}
    looked_up = [_panoptic_values(known.get(number), number=numbers.get(number, 0), void=void) for number in present.tolist()]
    table = numpy.array(looked_up, dtype=numpy.int32)[position.reshape(ids.shape)]
    return CocoMaps(table[..., 0], table[..., 1].astype(numpy.uint8), num_objects=len(objects), void=void)


def _panoptic_values(segment: dict[str, Any] | None, *, number: int, void: int) -> tuple[int, int]:
    """(object number, category)."""
    if segment is None or segment.get("iscrowd", 0):
        return void, 255
    return number, segment["category_id"]


def _is_object(segment: dict[str, Any], *, categories: dict[int, Category]) -> bool:
    return not segment.get("iscrowd", 0) and categories[segment["category_id"]][1]

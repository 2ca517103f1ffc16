"""COCO's segmentations as masks, through pycocotools: polygons, run lengths as a list, run lengths as text.

What pycocotools would not notice is checked first: it fills a mask from memory where runs are too short, and draws polygons far outside for minutes.
"""

import math
from types import ModuleType
from typing import Any

import numpy
from jaxtyping import UInt8

from mcdist.data.pictures.coco_runs import check_runs, runs_of
from mcdist.errors import DataError, MissingExtraError

OUTSIDE_TOLERANCE_PX = 1.0
"""A coordinate this far outside its photo is rounding, further is a mistake."""


def pycocotools_mask() -> ModuleType:
    """pycocotools.mask, or MissingExtraError with the line that installs it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError("COCO's polygons and run lengths need pycocotools, which is not installed; run: pip install 'mcdist[coco]'") from error
    return mask


def decode_segmentation(segmentation: Any, *, width: int, height: int, where: str) -> UInt8[numpy.ndarray, "H W"]:
    """0 or 1 a pixel. A list is polygons [x0, y0, x1, y1, ...], whose union counts; an object is `size` and `counts`, a list or COCO's text.

    Raises:
        DataError: of another form, of another size than the photo, not finite, or outside the photo by more than `OUTSIDE_TOLERANCE_PX`.
    """
    mask = pycocotools_mask()
    if isinstance(segmentation, list):
        check_polygons(segmentation, width=width, height=height, where=where)
        return mask.decode(mask.merge(mask.frPyObjects(segmentation, height, width)))
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise DataError(f"{where}: the segmentation is neither polygons nor run lengths with size and counts; write it in one of COCO's two forms")
    if segmentation["size"] != [height, width]:
        raise DataError(f"{where}: the run lengths are of size {segmentation['size']}, the photo is [{height}, {width}] (height, width); make them again")
    counts = segmentation["counts"]
    runs = counts if isinstance(counts, list) else runs_of(counts, where=where)
    check_runs(runs, width=width, height=height, where=where)
    encoded = mask.frPyObjects({"size": [height, width], "counts": runs}, height, width) if isinstance(counts, list) else segmentation
    return mask.decode(encoded)


def check_polygons(polygons: list, *, width: int, height: int, where: str) -> None:
    """Raises DataError where `polygons` is no list of closed outlines inside the photo."""
    if not polygons:
        raise DataError(f"{where}: the segmentation is an empty list; draw the object or take the annotation away")
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"{where}: a polygon must have three points or more as [x, y, x, y, ...], got {str(polygon)[:60]}; draw it again")
        if any(type(number) not in (int, float) or not math.isfinite(number) for number in polygon):
            raise DataError(f"{where}: a polygon holds what is no finite number: {str(polygon)[:60]}; draw it again")
        check_inside(min(polygon[::2]), max(polygon[::2]), limit=width, what="a polygon's x", where=where)
        check_inside(min(polygon[1::2]), max(polygon[1::2]), limit=height, what="a polygon's y", where=where)


def check_box(box: Any, *, width: int, height: int, where: str) -> None:
    """Raises DataError where `box` is not [x, y, width, height] inside the photo; None is no box, and sound."""
    if box is None:
        return
    if not isinstance(box, list) or len(box) != 4 or any(type(number) not in (int, float) or not math.isfinite(number) for number in box):
        raise DataError(f"{where}: a box must be four numbers [x, y, width, height], got {str(box)[:60]}; correct it")
    x, y, box_width, box_height = box
    if box_width < 0 or box_height < 0:
        raise DataError(f"{where}: the box {box} has a negative width or height; correct it")
    check_inside(x, x + box_width, limit=width, what="the box's x", where=where)
    check_inside(y, y + box_height, limit=height, what="the box's y", where=where)


def check_inside(low: int | float, high: int | float, *, limit: int, what: str, where: str) -> None:
    """Raises DataError where `low`..`high` leaves 0..`limit` px by more than the tolerance."""
    if low < -OUTSIDE_TOLERANCE_PX or high > limit + OUTSIDE_TOLERANCE_PX:
        raise DataError(f"{where}: {what} runs from {low:g} to {high:g} px, its photo from 0 to {limit}; correct the annotation")

"""What `mcdist segment` left of a photo: its segments, read and checked. The files may come from elsewhere, so nothing in them is believed.

A mask stays in its run lengths until it is asked for: the labels of a million segments are decided without one pixel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from jaxtyping import Bool, Float32

from mcdist.building.source import hostile
from mcdist.data.pictures.coco_runs import check_runs, mask_of_runs, runs_of
from mcdist.data.pictures.header import MAX_PIXELS
from mcdist.errors import DAMAGE, DataError
from mcdist.json_text import parse_json

FORMAT = "mcdist segments 1"
FOLDER = "segments"
CLASSES_NAME = "classes.json"

_RANGES = {"number": (1, 2**15 - 1), "cluster": (0, 2**16 - 1), "class_id": (0, 255)}
"""The least and the largest value of each: a photo's segments are numbered from 1 in a 16-bit map, its classes are a byte a pixel."""
_VECTOR_MAX = 10.0
"""A unit vector has no component above 1. Far larger numbers would overflow later, in a norm or a product."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a photo as it was made: its cluster, its class at that time, confidence in 0..1, run lengths, box (left, top, width,
    height in px) and mean unit embedding."""

    number: int
    cluster: int
    class_name: str
    class_id: int
    confidence: float
    counts: str
    box_xywh: tuple[float, float, float, float]
    vector: Float32[numpy.ndarray, " D"]


@dataclass(frozen=True, slots=True)
class SegmentedPhoto:
    """A photo and its segments. `photo` is its path below the folder that was segmented; width and height are those of the upright photo, in px."""

    photo: str
    width: int
    height: int
    segments: tuple[Segment, ...]
    where: str

    def mask(self, segment: Segment) -> Bool[numpy.ndarray, "H W"]:
        """The segment's pixels.

        Raises:
            DataError: its run lengths are damaged.
        """
        where = f"{self.where}, segment {segment.number}"
        return mask_of_runs(runs_of(segment.counts, where=where), width=self.width, height=self.height, where=where)


def segments_folder(folder: Path) -> Path:
    """The folder with classes.json and segments/: `folder` itself, or its segments/ where it is a run.

    Raises:
        DataError: neither.
    """
    for found in (folder / FOLDER, folder):
        if (found / CLASSES_NAME).is_file() and (found / FOLDER).is_dir():
            return found
    there = "that does not exist" if not folder.exists() else "that holds something else" if any(folder.iterdir()) else "that is empty"
    raise DataError(
        f"expected segments of mcdist in {folder} ({CLASSES_NAME} and {FOLDER}/, or a run with them in its {FOLDER}/), got a folder {there}; "
        f"make them with: mcdist segment RUN PHOTOS --out {folder}"
    )


def read_segments(folder: Path) -> Iterator[SegmentedPhoto]:
    """The segments of every photo of a segments folder, in the order of the files' names.

    Raises:
        DataError: there are none, or a file is damaged.
    """
    paths = sorted((folder / FOLDER).rglob("*.json"), key=lambda path: path.as_posix())
    if not paths:
        raise DataError(f"expected a file for each photo in {folder / FOLDER}, found none; segmenting has not finished one photo: run mcdist segment again")
    for path in paths:
        yield read_photo_segments(path)


def read_photo_segments(path: Path) -> SegmentedPhoto:
    """One photo's file.

    Raises:
        DataError: it cannot be read, is of another format, or damaged.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the folder and its permissions") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged (no JSON); delete it and run mcdist segment again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise DataError(f"{path} must be of the format {FORMAT!r}, it says {str(found)[:40]!r}; segment again with this version of mcdist")
    try:
        return _photo(content, where=str(path))
    except DAMAGE as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {str(error)[:80]}); delete it and run mcdist segment again") from error


def _photo(content: dict[str, Any], *, where: str) -> SegmentedPhoto:
    photo, width, height = content["photo"], content["width"], content["height"]
    if not isinstance(photo, str) or hostile(photo):
        raise DataError(f"{where}: the photo's name {str(photo)[:60]!r} leads out of its folder or is none; segment the photo again")
    if type(width) is not int or type(height) is not int or min(width, height) < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"a photo of {width} x {height}")
    segments = tuple(_segment(each, size=[height, width], where=where) for each in content["segments"])
    if len({segment.number for segment in segments}) != len(segments):
        raise ValueError("two segments have one number")
    return SegmentedPhoto(photo=photo, width=width, height=height, segments=segments, where=where)


def _segment(content: dict[str, Any], *, size: list[int], where: str) -> Segment:
    number, confidence = content["number"], content["confidence"]
    for key, (least, most) in _RANGES.items():
        if type(content[key]) is not int or not least <= content[key] <= most:
            raise ValueError(f"{key} must be a whole number, {least} to {most}, got {str(content[key])[:20]}")
    if type(confidence) not in (int, float) or not 0 <= confidence <= 1:
        raise ValueError(f"segment {number}: the confidence must be between 0 and 1, got {str(confidence)[:20]}")
    if content["rle"]["size"] != size:
        raise ValueError(f"segment {number}: run lengths of size {content['rle']['size']} in a photo of {size} (height, width)")
    counts, name = content["rle"]["counts"], content["class"]
    if not isinstance(counts, str) or not (name is None or isinstance(name, str)):
        raise ValueError(f"segment {number}: run lengths or class are no text")
    check_runs(runs_of(counts, where=where), width=size[1], height=size[0], where=f"{where}, segment {number}")
    vector = numpy.asarray(content["vector"], dtype=numpy.float64)
    if vector.ndim != 1 or not (numpy.abs(vector) <= _VECTOR_MAX).all():  # NaN is not <= either
        raise ValueError(f"segment {number}: the vector must be a unit vector, and holds something else than numbers between -1 and 1")
    x, y, box_width, box_height = (float(value) for value in content["box_xywh"])
    if not all(map(math.isfinite, (x, y, box_width, box_height))):
        raise ValueError(f"segment {number}: the box must be four finite numbers")
    return Segment(
        number=number,
        cluster=content["cluster"],
        class_name=name or "",
        class_id=content["class_id"],
        confidence=float(confidence),
        counts=counts,
        box_xywh=(x, y, box_width, box_height),
        vector=vector.astype(numpy.float32),
    )

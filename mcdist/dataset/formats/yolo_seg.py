"""YOLO's segmentation layout: images/, labels/ with a line an object (class and one normalised polygon), data.yaml. docs.ultralytics.com/datasets/segment."""

import json
from pathlib import PurePosixPath

import numpy

from mcdist.dataset.formats.format import Format, Kind, Target, write_file
from mcdist.dataset.outlines import Ring, joined, outlines_through
from mcdist.dataset.photo import LabelledPhoto, LabelledSegment

_LEAST_CORNERS = 3

_HOW_TO_OPEN = """\
from ultralytics import YOLO

YOLO("yolo11n-seg.pt").train(data="data.yaml")"""


class YoloSeg:
    """A text file beside each photo, data.yaml at the end. A class is its place in the order of ids, from 0 on, as the format asks."""

    def __init__(self, target: Target) -> None:
        """Make the folders: readers look for both splits."""
        self._target = target
        self._index_of = {class_id: place for place, class_id in enumerate(target.names)}
        for split in ("train", "val"):
            for folder in ("images", "labels"):
                (target.folder / folder / split).mkdir(parents=True, exist_ok=True)

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """The photo and its lines."""
        folder, inside = self._target.folder, PurePosixPath(photo.split)
        write_file(folder / "images" / inside / f"{photo.key}{suffix}", content)
        lines = [f"{self._index_of[segment.class_id]} {_line(segment, photo=photo)}\n" for segment in photo.labelled if segment.class_id]
        write_file(folder / "labels" / inside / f"{photo.key}.txt", "".join(lines).encode())

    def finish(self) -> None:
        """The list of classes. No `path`: readers take the folder of data.yaml."""
        names = "".join(f"  {place}: {json.dumps(name)}\n" for place, name in enumerate(self._target.names.values()))
        write_file(self._target.folder / "data.yaml", f"train: images/train\nval: images/val\n\nnames:\n{names}".encode())


def _line(segment: LabelledSegment, *, photo: LabelledPhoto) -> str:
    """x and y of each corner over the photo's width and height; a corner is the centre of a pixel."""
    outline = joined(outlines_through(segment.crop)) + [segment.x + 0.5, segment.y + 0.5]
    corners = _at_least_three(outline) / [photo.width, photo.height]
    return " ".join(f"{number:.7g}" for number in corners.ravel())


def _at_least_three(outline: Ring) -> Ring:
    """A part of one or two pixels, with its first corner again: a polygon of fewer than three is not read."""
    missing = max(0, _LEAST_CORNERS - len(outline))
    return numpy.concatenate([outline, numpy.repeat(outline[:1], missing, axis=0)])


def _begin(target: Target) -> Format:
    return YoloSeg(target)


KIND = Kind(
    name="yolo-seg",
    summary="YOLO segmentation: one normalised polygon a line, data.yaml; parts of one object are joined by lines of no width",
    begin=_begin,
    how_to_open=_HOW_TO_OPEN,
    void="Void segments have no line: the format cannot say that a pixel is unknown. Classes count from 0, in the order of the ids in this card.",
)

"""SegmentedPhoto: the segments of one photo, as data and as the JSON that is written of it."""

from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Bool, Float, Int16, UInt8

from mcdist.data.pictures.coco_runs import runs_of_mask, text_of_runs

FORMAT = "mcdist segments 1"
VECTOR_DIGITS, CONFIDENCE_DIGITS = 5, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondChoice:
    """The likeliest class but the first: its likeliest cluster, its name and the confidence of it."""

    cluster: int
    class_name: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment: `number` in the photo's instance map, its cluster and class with the confidence of the class (`Classes.assign`), area, box (left, top,
    width, height) at the photo's own size in px, and its mean unit embedding, unit."""

    number: int
    cluster: int
    class_id: int
    class_name: str
    confidence: float
    second: SecondChoice | None
    area_px: int
    box_xywh: tuple[int, int, int, int]
    vector: Float[numpy.ndarray, " D"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedPhoto:
    """`instances`: the segment of each pixel of the upright photo by number, 0 background. A segment without a pixel at that size is not there."""

    instances: Int16[numpy.ndarray, "H W"]
    segments: tuple[Segment, ...]

    @property
    def height(self) -> int:
        """Of the upright photo, in px."""
        return self.instances.shape[0]

    @property
    def width(self) -> int:
        """Of the upright photo, in px."""
        return self.instances.shape[1]

    @property
    def class_map(self) -> UInt8[numpy.ndarray, "H W"]:
        """The class id of each pixel."""
        table = numpy.zeros(int(self.instances.max(initial=0)) + 1, dtype=numpy.uint8)
        for segment in self.segments:
            table[segment.number] = segment.class_id
        return table[self.instances]

    def mask(self, segment: Segment) -> Bool[numpy.ndarray, "H W"]:
        """The segment's pixels."""
        return self.instances == segment.number

    def at(self, x: int, y: int) -> Segment | None:
        """The segment of the pixel in column x of row y; None where that is background."""
        return next((segment for segment in self.segments if segment.number == self.instances[y, x]), None)

    def to_json(self, photo: str, **more: Any) -> dict[str, Any]:
        """As docs/segment.md specifies it; `photo` is its name, `more` what else is kept with it."""
        segments = [self._segment_json(segment) for segment in self.segments]
        return {"format": FORMAT, "photo": photo, "width": self.width, "height": self.height, **more, "segments": segments}

    def _segment_json(self, segment: Segment) -> dict[str, Any]:
        second = segment.second and {
            "cluster": segment.second.cluster,
            "class": segment.second.class_name,
            "confidence": round(segment.second.confidence, CONFIDENCE_DIGITS),
        }
        return {
            "number": segment.number,
            "cluster": segment.cluster,
            "class": segment.class_name,
            "class_id": segment.class_id,
            "confidence": round(segment.confidence, CONFIDENCE_DIGITS),
            "second": second,
            "area_px": segment.area_px,
            "box_xywh": list(segment.box_xywh),
            "rle": {"size": [self.height, self.width], "counts": text_of_runs(runs_of_mask(self.mask(segment)))},
            "vector": [round(float(value), VECTOR_DIGITS) for value in segment.vector],
        }

"""A photo with its labels, as every format of a data set gets it."""

from dataclasses import dataclass
from typing import Literal

import numpy
from jaxtyping import Bool

from mcdist.building.pictures.photo import read_photo
from mcdist.data.pictures.header import read_header
from mcdist.data.pictures.jpeg import encode_jpeg
from mcdist.data.pictures.photo import decode_upright
from mcdist.errors import DataError

Split = Literal["train", "val"]
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class LabelledSegment:
    """A segment's pixels inside its box (x, y of the box's upper left pixel), and its class: 0 background; None void, nothing is known about these pixels."""

    number: int
    class_id: int | None
    confidence: float
    cluster: int
    x: int
    y: int
    crop: Bool[numpy.ndarray, "h w"]

    @property
    def area_px(self) -> int:
        """Pixels of the segment."""
        return int(self.crop.sum())

    @property
    def box_xywh(self) -> list[int]:
        """Left, top, width and height in px, as COCO writes a box."""
        return [self.x, self.y, self.crop.shape[1], self.crop.shape[0]]

    def paint(self, canvas: numpy.ndarray, *, value: int) -> None:
        """Set the segment's pixels of `canvas` [H, W]."""
        canvas[self.y : self.y + self.crop.shape[0], self.x : self.x + self.crop.shape[1]][self.crop] = value


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo of the data set. `number` from 1 on; `key`: its name in the data set, safe in every file system; `original`: its path where it came from."""

    number: int
    key: str
    original: str
    split: Split
    width: int
    height: int
    segments: tuple[LabelledSegment, ...]

    @property
    def labelled(self) -> list[LabelledSegment]:
        """Those that are objects of a class."""
        return [segment for segment in self.segments if segment.class_id]

    @property
    def painting_order(self) -> list[LabelledSegment]:
        """From the largest to the smallest, so that where two overlap the smaller one is seen."""
        return sorted(self.segments, key=lambda segment: (-segment.area_px, segment.number))


def segment_in_box(mask: Bool[numpy.ndarray, "H W"], *, number: int, class_id: int | None, confidence: float, cluster: int) -> LabelledSegment | None:
    """The segment of a mask of the whole photo; None for a mask without a pixel."""
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return LabelledSegment(number=number, class_id=class_id, confidence=confidence, cluster=cluster, x=int(columns[0]), y=int(rows[0]), crop=crop)


def photo_content(place: str, *, width: int, height: int, jpeg_only: bool) -> tuple[str, bytes]:
    """Suffix (`.jpg`, `.png`) and bytes of a photo: its own, unless readers that know no EXIF would show it turned, or the format knows JPEGs only.

    Raises:
        DataError: missing, unreadable, or of another size than when it was segmented.
    """
    photo = read_photo(place)
    if (photo.width, photo.height) != (width, height):
        raise DataError(f"the photo {place} is {photo.width} x {photo.height}, it was {width} x {height} when it was segmented; segment it again")
    is_upright = read_header(photo.content).orientation == 1
    if is_upright and (photo.member == "jpg" or not jpeg_only):
        return f".{photo.member}", photo.content
    return ".jpg", encode_jpeg(decode_upright(photo.content), quality=JPEG_QUALITY)

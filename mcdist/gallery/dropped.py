"""Dropped: photos that somebody dropped on the page, the latest few of them, in memory only."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float, Int, UInt8

from mcdist.data.pictures.header import read_photo_header
from mcdist.data.pictures.photo import decode_upright
from mcdist.data.pictures.png import encode_grey_png
from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import ConfigError, DataError
from mcdist.gallery.pictures import PHOTO_PX, PHOTO_PX_MIN, fitted, jpeg

NUM_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """What an encoder sees in a photo. `segments`: the map of segment numbers, 0 where there is none, at any size. `numbers` and `vectors`: of each segment.
    `pixel_vector(x, y)`: the vector of the pixel at these shares of width and height."""

    segments: Int[numpy.ndarray, "h w"]
    numbers: Int[numpy.ndarray, " N"]
    vectors: Float[numpy.ndarray, "N D"]
    pixel_vector: Callable[[float, float], Float[numpy.ndarray, " D"]]


Segmenter = Callable[[UInt8[numpy.ndarray, "H W 3"]], Segmented]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A photo with its segments; `picture` is a JPEG of it, `segment_map` a grey PNG of the same size with the segments' numbers."""

    key: str
    width: int
    height: int
    found: Segmented
    segments: Int[numpy.ndarray, "H W"]
    picture: bytes
    segment_map: bytes

    def vector_at(self, x: float, y: float) -> tuple[int, Float[numpy.ndarray, " D"]]:
        """(segment number, vector) of the pixel at these shares of width and height: the segment's, or outside every segment (0) the pixel's own.

        Raises:
            ConfigError: the point is outside the photo.
        """
        if not (0 <= x < 1 and 0 <= y < 1):
            raise ConfigError("that point is outside the photo; click inside it")
        number = int(self.segments[int(y * self.segments.shape[0]), int(x * self.segments.shape[1])])
        return self.vector_of(number) if number else (0, self.found.pixel_vector(x, y))

    def vector_of(self, number: int) -> tuple[int, Float[numpy.ndarray, " D"]]:
        """(its number, vector) of a segment; ConfigError where there is none of that number."""
        rows = numpy.flatnonzero(self.found.numbers == number)
        if not len(rows):
            raise ConfigError(f"the photo has no segment {number}")
        return number, self.found.vectors[int(rows[0])]

    def boxes(self) -> list[list[float]]:
        """Left, top, width, height of each segment as shares, in the order of `numbers`."""
        height, width = self.segments.shape
        found = []
        for number in self.found.numbers.tolist():
            rows, columns = (numpy.flatnonzero((self.segments == number).any(axis=axis)) for axis in (1, 0))
            if not len(rows):
                found.append([0.0, 0.0, 0.0, 0.0])
                continue
            left, top, right, bottom = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
            found.append([round(float(value), 4) for value in (left, top, right - left, bottom - top)])
        return found


class DroppedPhotos:
    """Segments photos one at a time, and remembers the latest NUM_KEPT. `open_segmenter` is called for the first photo: loading an encoder takes a while."""

    def __init__(self, open_segmenter: Callable[[], Segmenter]) -> None:
        self._open_segmenter = open_segmenter
        self._segmenter: Segmenter | None = None
        self._lock = threading.Lock()
        self._photos: OrderedDict[str, Dropped] = OrderedDict()

    def add(self, content: bytes) -> Dropped:
        """Segment the photo in a file's bytes.

        Raises:
            DataError: it is no photo that can be decoded.
        """
        try:
            read_photo_header(content)
            pixels = decode_upright(content)
        except ValueError as error:
            raise DataError(f"this file is no photo that can be read ({error}); take a JPEG or an 8-bit PNG") from error
        with self._lock:
            self._segmenter = self._segmenter or self._open_segmenter()
            found = self._segmenter(pixels)
            shown = fitted(pixels, longer_px=PHOTO_PX, longer_px_min=PHOTO_PX_MIN)
            height, width = shown.shape[:2]
            segments = resize_nearest(found.segments, height=height, width=width)
            dropped = Dropped(
                key=secrets.token_hex(8),
                width=pixels.shape[1],
                height=pixels.shape[0],
                found=found,
                segments=segments,
                picture=jpeg(shown),
                segment_map=encode_grey_png(segments.clip(0, 255).astype(numpy.uint8)),
            )
            self._photos[dropped.key] = dropped
            while len(self._photos) > NUM_KEPT:
                self._photos.popitem(last=False)
        return dropped

    def get(self, key: str) -> Dropped:
        """A photo by its key; ConfigError where it was forgotten."""
        with self._lock:
            if key not in self._photos:
                raise ConfigError("that photo is not in memory any more; drop it again")
            return self._photos[key]


def about(dropped: Dropped, *, labels: list[dict[str, Any]]) -> dict[str, Any]:
    """The photo as plain JSON values. `labels`: of each segment, as `Session.labels` returns them."""
    listed = zip(dropped.found.numbers.tolist(), dropped.boxes(), labels, strict=True)
    return {
        "key": dropped.key,
        "width": dropped.width,
        "height": dropped.height,
        "segments": [{"number": number, "box": box, **label} for number, box, label in listed],
    }

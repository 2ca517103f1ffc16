"""Panel, Example, Neighbours and Retrieved: pictures of an evaluation, as data."""

from dataclasses import dataclass

import numpy


@dataclass(frozen=True, slots=True)
class Example:
    """An object to show: the index of its photo in the data set, and its box there: top, left, bottom, right as shares of the photo."""

    sample: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """An object, and the objects of other photos that are nearest to it, nearest first: by what training started from, and by the trained embedding."""

    example: Example
    before: tuple[Example, ...]
    after: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A judged object with its true class, and the objects of the photos to fit on that are nearest to it, nearest first, each with its class."""

    example: Example
    true_class: str
    nearest: tuple[tuple[Example, str], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One evaluated photo, side by side. All maps are `[H, W]` of the photo's own size.

    `photo` uint8 `[H, W, 3]`; `proposals` int16 instance map; `saliency` float32 probability; `clusters` uint8 class index that the headline
    row predicts; `truth` uint8 class index, 255 void; None without ground truth. `embedding` uint8 `[h, w, 3]`, of any size: the pixel embeddings' main
    directions as colours, None where they were not computed.
    """

    key: str
    photo: numpy.ndarray
    proposals: numpy.ndarray
    saliency: numpy.ndarray
    clusters: numpy.ndarray
    truth: numpy.ndarray | None
    embedding: numpy.ndarray | None = None

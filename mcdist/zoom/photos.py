"""Photos: samples read, decoded and cut into objects by worker processes, a few photos at a time."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from mcdist.data.loader import load_requests
from mcdist.data.shards.sample import Sample
from mcdist.data.views.objects import keep_largest
from mcdist.errors import McdistError
from mcdist.types import Rgb
from mcdist.zoom.cut import cut_objects
from mcdist.zoom.extents import extents_of
from mcdist.zoom.settings import ZoomSettings
from mcdist.zoom.tables import Tables, concatenated, rows_of

PREFETCH = 2
"""Requests that each worker holds ready."""


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A sample, and whether it is the stand-in of one that could not be read."""

    sample: Sample
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class CutPhotos:
    """Some photos and their O objects: everything but the vectors in `tables`, and the pictures that the vectors are made of."""

    keys: tuple[str, ...]
    tables: Tables
    images: UInt8[Tensor, "O M 3 S S"]
    weights: Float[Tensor, "O M g g"]


class ZoomedPhotos(Dataset[CutPhotos]):
    """Photos by index, cut. It is sent to worker processes."""

    def __init__(self, read: Callable[[int], ReadPhoto], *, settings: ZoomSettings, grid: int, mean: Rgb) -> None:
        """`grid`: side of the backbone's feature map of a picture. `mean`: the backbone's colour, for background=grey."""
        self.read, self.settings, self.grid, self.mean = read, settings, grid, mean

    def __getitems__(self, indices: list[int]) -> CutPhotos | McdistError:
        """Some photos, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            cut = [self.cut(index) for index in indices]
        except McdistError as error:
            return error
        return CutPhotos(
            keys=tuple(key for one in cut for key in one.keys),
            tables=concatenated([one.tables for one in cut]),
            images=torch.cat([one.images for one in cut]),
            weights=torch.cat([one.weights for one in cut]),
        )

    def cut(self, index: int) -> CutPhotos:
        """One photo; its objects have the numbers that training gives them."""
        found = self.read(index)
        stored = found.sample.instances.to(torch.uint8).numpy()  # -1 wraps to 255, as in the file
        numbering = keep_largest(stored, max_objects=self.settings.max_objects)
        objects = numbering.apply(stored)
        extents = extents_of(objects)
        images, weights = cut_objects(found.sample.photo, objects, extents=extents, settings=self.settings, grid=self.grid, mean=self.mean)
        tables = rows_of(found.sample, index=index, is_bad=found.is_bad, numbering=numbering, extents=extents)
        return CutPhotos((found.sample.key,), tables, images, weights)


def cut_photos(photos: ZoomedPhotos, *, requests: list[list[int]], num_workers: int = 0) -> Generator[CutPhotos, None, None]:
    """The photos of each request, in order. Without workers, and for one request, this process cuts. Closing the generator ends the workers.

    Raises:
        ShardError: a damaged sample.
        MachineError: a worker died.
    """
    num_workers = min(num_workers, len(requests)) if len(requests) > 1 else 0
    loader: Any = load_requests(photos, batches=requests, num_workers=num_workers, prefetch=PREFETCH)
    yield from iter(loader)

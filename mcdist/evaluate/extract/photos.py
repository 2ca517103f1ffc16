"""Photos: samples read, decoded and resized by worker processes, in the batches that are asked for."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int16, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from mcdist.data.loader import load_requests
from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.shards.sample import Sample
from mcdist.errors import DataError, McdistError
from mcdist.evaluate.inputs import Interpolation

PREFETCH = 2
"""Batches that each worker holds ready."""


@dataclass(frozen=True, slots=True)
class Photos:
    """The photos of an extraction: `read` gives any of them by index 0..num_photos-1. It is sent to worker processes."""

    read: Callable[[int], Sample]
    num_photos: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample ready to be embedded: photo and proposals at S x S, proposals and ground truth (raw ids) at the photo's own size."""

    key: str
    image: UInt8[Tensor, "3 S S"]
    proposals: Int16[Tensor, "S S"]
    instances: Int16[Tensor, "H W"]
    truth: UInt8[Tensor, "H W"] | None


class PreparedPhotos(Dataset[Prepared]):
    """Samples by index, prepared."""

    def __init__(self, read: Callable[[int], Sample], *, size_px: int, with_truth: bool, interpolation: Interpolation) -> None:
        self.read, self.size_px, self.with_truth, self.interpolation = read, size_px, with_truth, interpolation

    def __getitems__(self, indices: list[int]) -> list[Prepared] | McdistError:
        """A batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            return [prepare(self.read(index), size_px=self.size_px, with_truth=self.with_truth, interpolation=self.interpolation) for index in indices]
        except McdistError as error:
            return error


def prepared_batches(
    photos: Photos, *, batches: list[list[int]], size_px: int, with_truth: bool, num_workers: int = 0, interpolation: Interpolation = "bilinear"
) -> Generator[list[Prepared], None, None]:
    """The photos of each batch, in order. Without workers, and for one batch, this process decodes. Closing the generator ends the workers.

    Raises:
        ShardError, DataError: a damaged sample, or one without ground truth where that is asked for.
        MachineError: a worker died.
    """
    num_workers = min(num_workers, len(batches)) if len(batches) > 1 else 0
    source = PreparedPhotos(photos.read, size_px=size_px, with_truth=with_truth, interpolation=interpolation)
    loader: Any = load_requests(source, batches=batches, num_workers=num_workers, prefetch=PREFETCH)
    yield from iter(loader)


def prepare(sample: Sample, *, size_px: int, with_truth: bool, interpolation: Interpolation = "bilinear") -> Prepared:
    """Resize a photo (antialiased, but for nearest-exact) and its proposals to the nearest pixel, both to `size_px` squared.

    Raises:
        DataError: the sample has no ground truth, and `with_truth` asks for it.
    """
    if with_truth and sample.segments is None:
        raise DataError(f"expected ground truth of {sample.key} to evaluate with, the sample has none; build the shards with labels, or set data.val to others")
    return Prepared(
        key=sample.key,
        image=interpolate(sample.photo[None], size=(size_px, size_px), mode=interpolation, antialias=interpolation != "nearest-exact")[0],
        proposals=torch.from_numpy(resize_nearest(sample.instances.numpy(), height=size_px, width=size_px)),
        instances=sample.instances,
        truth=sample.segments if with_truth else None,
    )

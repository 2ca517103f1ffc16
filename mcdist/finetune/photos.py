"""LabelledPhotos: photos with their classes as squares, and how each is to be augmented, in batches that worker processes make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from mcdist.data.loader import read_sample
from mcdist.data.order import Request
from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.readers.reader import SampleReader
from mcdist.errors import McdistError
from mcdist.evaluate.extract.photos import prepare
from mcdist.evaluate.inputs import Interpolation
from mcdist.finetune.augment import drawn_transform
from mcdist.finetune.settings import TuneSettings

INTERPOLATION: Interpolation = "bicubic"


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """8-bit photos, the class of each of their pixels (255 void), and where each augmented pixel comes from; nothing is augmented yet."""

    images: UInt8[Tensor, "B 3 S S"]
    labels: UInt8[Tensor, "B S S"]
    transforms: Float32[Tensor, "B 2 3"]

    def to(self, device: torch.device) -> "LabelledBatch":
        """On `device`; the host does not wait."""
        return LabelledBatch(*(tensor.to(device, non_blocking=True) for tensor in (self.images, self.labels, self.transforms)))

    def pin_memory(self) -> "LabelledBatch":
        """In page-locked memory; DataLoader calls this by name."""
        return LabelledBatch(self.images.pin_memory(), self.labels.pin_memory(), self.transforms.pin_memory())


class LabelledPhotos(Dataset[LabelledBatch]):
    """Photo i is sample `samples[i]` of the shards. `class_of_id`: the class of each raw id, 255 for void."""

    def __init__(self, reader: SampleReader, *, samples: Sequence[int], class_of_id: UInt8[numpy.ndarray, " 256"], settings: TuneSettings, seed: int) -> None:
        self.reader, self.samples, self.class_of_id, self.settings, self.seed = reader, list(samples), class_of_id, settings, seed

    def __getitems__(self, requests: Sequence[Request]) -> LabelledBatch | McdistError:
        """A batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            photos = [self._photo(request) for request in requests]
        except McdistError as error:
            return error
        images, labels, transforms = zip(*photos, strict=True)
        return LabelledBatch(
            torch.stack(images),
            torch.from_numpy(numpy.stack(labels)),
            torch.from_numpy(numpy.stack(transforms)),
        )

    def _photo(self, request: Request) -> tuple[UInt8[Tensor, "3 S S"], UInt8[numpy.ndarray, "S S"], Float32[numpy.ndarray, "2 3"]]:
        """Random numbers follow the sample and the epoch, so they do not depend on ranks, batches or which photos are beside it."""
        sample, size_px = self.samples[request.index], self.settings.size_px
        photo = prepare(read_sample(self.reader, sample, with_segments=True), size_px=size_px, with_truth=True, interpolation=INTERPOLATION)
        assert photo.truth is not None, "prepare raises where there is no ground truth"
        height, width = photo.truth.shape
        labels = self.class_of_id[resize_nearest(photo.truth.numpy(), height=size_px, width=size_px)]
        transform = drawn_transform(seed=self.seed, epoch=request.epoch, index=sample, height=height, width=width, settings=self.settings)
        return photo.image, labels, transform

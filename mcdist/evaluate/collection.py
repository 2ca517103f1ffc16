"""Collection: what one pass over the photos leaves behind: object vectors, class histograms and drafts of panels. No pixel embedding is kept."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy
import torch
from jaxtyping import Int16, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.shards.sample import Sample
from mcdist.errors import CheckpointError, DataError
from mcdist.evaluate.confusion import object_histograms
from mcdist.evaluate.embed import MASKS, PREDICTED, PROPOSALS, EmbeddedObjects, ObjectMasks
from mcdist.evaluate.labels import VOID_CLASS, LabelMap
from mcdist.evaluate.panels import Draft, EvenSpread

NO_OBJECT = "photos without an object"
LOST = "objects without a pixel after resizing"
NO_TRUTH = "photos without an evaluated pixel"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample ready for the step: photo and proposals at S x S, true classes and instances at the photo's own size."""

    sample: Sample
    image: UInt8[Tensor, "3 S S"]
    proposals: Int16[Tensor, "S S"]
    instances: Int16[numpy.ndarray, "H W"]
    truth: UInt8[numpy.ndarray, "H W"]


@dataclass(slots=True)
class Collection:
    """Grows by `add`, one batch at a time. `histograms` and `background` by masks, `vectors` by (masks, protocol, encoder), in the same row order."""

    num_classes: int
    spread: EvenSpread
    num_photos: int = 0
    vectors: dict[tuple[str, str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    histograms: dict[str, list[numpy.ndarray]] = field(default_factory=lambda: {masks: [] for masks in MASKS})
    background: dict[str, numpy.ndarray] = field(default_factory=dict)
    num_objects: Counter = field(default_factory=Counter)
    places: dict[str, list[tuple[int, tuple[float, float, float, float]]]] = field(default_factory=lambda: {masks: [] for masks in MASKS})
    """By masks, in row order: each object's photo, and its box there as shares (top, left, bottom, right)."""
    counts: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.background = {masks: numpy.zeros(self.num_classes, dtype=numpy.int64) for masks in MASKS}

    def add(self, photos: list[Prepared], *, embedded: EmbeddedObjects) -> None:
        """Take over one batch: one copy of its vectors, masks and logits to the host.

        Raises:
            CheckpointError: an embedding is not finite.
        """
        valid = {masks: num_pixels.view(len(photos), -1).cpu().numpy() > 0 for masks, num_pixels in embedded.num_pixels.items()}
        self._add_vectors(photos, embedded=embedded, valid=valid)
        predicted, saliency = embedded.predicted.cpu().numpy(), embedded.saliency.cpu().numpy()
        for place, photo in enumerate(photos):
            height, width = photo.truth.shape
            objects = {PREDICTED: resize_nearest(predicted[place], height=height, width=width), PROPOSALS: photo.instances}
            rows = {masks: self._add_histograms(photo, masks=masks, objects=objects[masks], valid=valid[masks][place]) for masks in MASKS}
            self.counts[NO_TRUTH] += bool((photo.truth == VOID_CLASS).all())
            if self.spread.wants(self.num_photos):
                self.spread.add(_draft(photo, saliency=saliency[place], predicted=objects[PREDICTED], row_of=rows))
            self.num_photos += 1

    def _add_vectors(self, photos: list[Prepared], *, embedded: EmbeddedObjects, valid: dict[str, numpy.ndarray]) -> None:
        saliency_is_finite = bool(torch.isfinite(embedded.saliency).all())
        for (masks, protocol, encoder), vectors in embedded.vectors.items():
            found = vectors.cpu()[torch.from_numpy(valid[masks]).flatten()]
            if not (saliency_is_finite and torch.isfinite(found).all()):
                keys = ", ".join(photo.sample.key for photo in photos)
                raise CheckpointError(f"the evaluation wants finite embeddings, those of {encoder} are not, in photos {keys}; evaluate an earlier checkpoint")
            self.vectors[masks, protocol, encoder].append(found)

    def _add_histograms(self, photo: Prepared, *, masks: str, objects: numpy.ndarray, valid: numpy.ndarray) -> numpy.ndarray:
        """Row of each object number 1.. in the table of objects, -1 for none; objects that gave no vector count as outside."""
        histograms = object_histograms(objects, truth=photo.truth, num_objects=len(valid), num_classes=self.num_classes)
        self.background[masks] += histograms[0] + histograms[1:][~valid].sum(axis=0)
        self.histograms[masks].append(histograms[1:][valid])
        self.places[masks].extend((self.num_photos, _box(objects == number)) for number in numpy.flatnonzero(valid) + 1)
        row_of = numpy.where(valid, self.num_objects[masks] + numpy.cumsum(valid) - 1, -1)
        self.num_objects[masks] += int(valid.sum())
        self.counts[f"{masks}: {NO_OBJECT}"] += not valid.any()
        shown = numpy.bincount(objects[objects > 0], minlength=1) > 0
        self.counts[f"{masks}: {LOST}"] += int(shown.sum() - shown[1 : len(valid) + 1][valid[: len(shown) - 1]].sum())
        return row_of


def prepare(sample: Sample, *, size_px: int, labels: LabelMap | None) -> Prepared:
    """Resize a photo bilinearly (antialiased) and its proposals to the nearest pixel, both to `size_px` squared; name the true classes.

    Without `labels` the truth is void everywhere.

    Raises:
        DataError: the sample has no ground truth, and `labels` name classes.
    """
    instances = sample.instances.numpy()
    if labels is None:
        truth = numpy.full(instances.shape, VOID_CLASS, dtype=numpy.uint8)
    elif sample.segments is None:
        raise DataError(f"evaluation wants the ground truth of {sample.key}, the sample has none; build the shards with labels or set data.val to such shards")
    else:
        truth = labels.apply(sample.segments.numpy())
    return Prepared(
        sample=sample,
        image=interpolate(sample.photo[None], size=(size_px, size_px), mode="bilinear", antialias=True)[0],
        proposals=torch.from_numpy(resize_nearest(instances, height=size_px, width=size_px)),
        instances=instances,
        truth=truth,
    )


def _box(inside: numpy.ndarray) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of a mask as shares of its size; the whole where it is empty."""
    rows, columns = numpy.flatnonzero(inside.any(axis=1)), numpy.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = inside.shape
    return float(rows[0] / height), float(columns[0] / width), float((rows[-1] + 1) / height), float((columns[-1] + 1) / width)


def stack_proposals(photos: list[Prepared], *, device: torch.device) -> ObjectMasks:
    """The proposals of a batch on the device; `max_objects` is read before the copy, so nothing waits for the device."""
    stacked = torch.stack([photo.proposals for photo in photos])
    return ObjectMasks(objects=stacked.to(device), max_objects=max(1, int(stacked.max())))


def _draft(photo: Prepared, *, saliency: numpy.ndarray, predicted: numpy.ndarray, row_of: dict[str, numpy.ndarray]) -> Draft:
    return Draft(
        key=photo.sample.key,
        photo=photo.sample.photo.permute(1, 2, 0).numpy(),
        proposals=photo.instances,
        saliency=saliency.copy(),
        predicted=predicted,
        row_of=row_of,
        truth=photo.truth,
    )

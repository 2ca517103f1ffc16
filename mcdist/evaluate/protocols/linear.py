"""Linear: a 1 x 1 convolution from features to classes, fitted on labelled training photos. The linear probe of MaskContrast, and a fast one.

Features are those of the stores, each photo seen once and whole. The released code passes each photo through the network in every epoch, scaled and rotated at
random, which stored features cannot follow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy
import torch
from jaxtyping import Float, Float32, Int

from mcdist.distributed import World
from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import TRUE_PX, class_counts, counts_iou, mean_iou, pixel_confusion
from mcdist.evaluate.probes.linear_probe import Batch, Schedule, batches_of, train_linear
from mcdist.evaluate.probes.logistic import LinearClassifier
from mcdist.evaluate.probes.moments import LinearMap, Moments, standardiser
from mcdist.evaluate.probes.upsampled import pixel_classes
from mcdist.evaluate.protocols.pixel_sample import sample_pixels
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.sharing import own_part, summed
from mcdist.evaluate.table_names import patches_of
from mcdist.evaluate.view import StoreView
from mcdist.records import Row, Subject
from mcdist.records.names import (
    BACKBONE,
    INITIAL_BACKBONE,
    LINEAR_CLEAN,
    LINEAR_FAST,
    LINEAR_PUBLISHED,
    MIOU,
    RANDOM_WEIGHTS,
    TRAINED_BACKBONE,
    TRAINED_DECODER,
)
from mcdist.store.names import PHOTOS
from mcdist.store.store import Column

SUBJECTS = (TRAINED_DECODER, TRAINED_BACKBONE, INITIAL_BACKBONE, RANDOM_WEIGHTS, BACKBONE)
"""What is probed, as far as the store holds it: what the embedding is linear in, and the backbones, that with random weights too."""

PHOTOS_AT_ONCE = 8
SAMPLE_BYTES = 2**28
"""Features of sampled pixels in memory."""

PUBLISHED_SCHEDULE = Schedule(optimizer="sgd", lr=0.1, num_epochs=60, batch=16, momentum=0.9, weight_decay=1e-4, drops=(25,))


@dataclass(frozen=True, slots=True, kw_only=True)
class SgdSwitches:
    """`standardise`: each channel to mean 0 and variance 1 over the training cells, so that the learning rate fits features of any scale."""

    schedule: Schedule
    standardise: bool
    checkpoint: Literal["the last epoch", "the best epoch on the judged photos"]
    seed: int = 0
    fitted_on: str = "--train-shards"
    features: str = "before the embedding, of whole photos, as stored: mirrored at random, neither scaled nor rotated"
    loss: str = "cross-entropy of logits upsampled bilinearly to the embedded size, void left out; the last, incomplete batch dropped"
    scored_at: str = "the photo's own size: argmax at the embedded size, then the nearest pixel"
    matching: str = "none: classes are predicted"
    absent_classes: str = "left out of the mean"
    flip_and_crf: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSwitches:
    """`grid`: an epoch sees a random pixel in each of grid x grid squares of a photo. There are `num_draws` of these, which the epochs take in turn. All else
    is as in maskcontrast-linear/clean.

    That is gradient descent which is stopped early, and its result depends on the path: a penalised minimum scores less, whatever the penalty.
    """

    schedule: Schedule = PUBLISHED_SCHEDULE
    grid: int = 12
    num_draws: int = 16
    seed: int = 0
    fitted_on: str = "--train-shards: num_draws x grid x grid pixels of each photo, each equally likely; fewer where 256 MiB hold no more features"
    features: str = "before the embedding, of whole photos, as stored, upsampled bilinearly; standardised"
    loss: str = "cross-entropy of the drawn pixels, void left out; the last, incomplete batch dropped"
    checkpoint: str = "the last epoch"
    scored_at: str = "the photo's own size: argmax at the embedded size, then the nearest pixel"
    matching: str = "none: classes are predicted"
    absent_classes: str = "left out of the mean"
    flip_and_crf: str = "none"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A probe, and which of its epochs it is."""

    probe: LinearClassifier
    before: LinearMap | None
    epoch: int

    def logits(self, features: Float[numpy.ndarray, "h w D"]) -> Float32[numpy.ndarray, "h w L"]:
        """Of one photo's cells."""
        cells = features.reshape(-1, features.shape[-1]).astype(numpy.float32)
        cells = cells if self.before is None else self.before.apply(cells)
        return self.probe.logits(torch.from_numpy(cells)).numpy().reshape(*features.shape[:2], -1)


@dataclass(frozen=True, slots=True)
class Linear:
    """mIoU over all pixels but void, of a probe on each kind of features. Backbones that are the same are probed once."""

    name: str
    switches: SgdSwitches | FastSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "decoded", "truth", "label maps", "train labels"})

    def judge(self, store: StoreView) -> list[Row]:
        """A row for each kind of features that the store holds."""
        rows: dict[str, Row] = {}
        found = []
        for encoder in SUBJECTS:
            if store.store.has(PHOTOS, patches_of(encoder)):
                file_name = store.patches(encoder).file_name
                if file_name not in rows:
                    rows[file_name] = self._row(store, encoder=encoder)
                row = rows[file_name]
                found.append(Row(row.protocol, Subject(encoder), row.metric, row.unit, row.values, row.details, row.draws))
        return found

    def quote(self, rows: Sequence[Row]) -> int:
        """The features that the trained embedding is linear in."""
        return 0

    def _row(self, store: StoreView, *, encoder: str) -> Row:
        """Details: the epoch, IoU of each class, and the confusion, row = predicted class."""
        fitted = self._fitted(store, encoder=encoder)
        confusion, by_photo = probe_counts(fitted, features=store.patches(encoder), maps=store.label_maps, size_px=_size_px(store), world=store.world)
        total = class_counts(confusion)
        iou_percent, present = 100 * counts_iou(total), total[:, TRUE_PX] > 0
        kept = store.known_truth.kept
        details = {
            "class_iou_percent": iou_percent[kept].tolist(),
            "confusion": confusion[numpy.ix_(kept, kept)].tolist(),
            "epoch": fitted.epoch,
        }
        value = float(iou_percent[present].mean())
        return Row(self.name, Subject(encoder), MIOU, "%", (value,), details, draws=draws_of_miou([by_photo[:, present]]))

    def _fitted(self, store: StoreView, *, encoder: str) -> Fitted:
        train = store.known_train
        features, maps, size_px = train.patches(encoder), train.label_maps, _size_px(store)
        num_classes = len(train.known_truth.labels.names)
        if isinstance(self.switches, FastSwitches):
            return list(fit_fast(features, maps=maps, num_classes=num_classes, size_px=size_px, switches=self.switches))[-1]
        epochs = fit_sgd(features, maps=maps, num_classes=num_classes, size_px=size_px, switches=self.switches)
        if self.switches.checkpoint == "the last epoch":
            return list(epochs)[-1]
        judged, truth = store.patches(encoder), store.label_maps
        return max(epochs, key=lambda fitted: _miou(probe_counts(fitted, features=judged, maps=truth, size_px=size_px, world=store.world)[0]))


def fit_sgd(features: Column, *, maps: LabelMaps, num_classes: int, size_px: int, switches: SgdSwitches) -> Iterator[Fitted]:
    """The probe after each epoch, of all pixels. Photos are read batch by batch.

    Raises:
        DataError: the weights are no longer finite.
    """
    before = _standardiser(features) if switches.standardise else None

    def read(photos: list[int], epoch: int) -> Batch:
        inputs = features.take(numpy.array(photos)).astype(numpy.float32)
        if before is not None:
            inputs = before.apply(inputs.reshape(-1, inputs.shape[-1])).reshape(inputs.shape)
        labels = maps.squares(photos, size_px=size_px)
        mirror = numpy.random.default_rng([switches.seed, epoch, 1]).random(len(maps))[photos] < 0.5
        inputs[mirror], labels[mirror] = inputs[mirror, :, ::-1], labels[mirror, :, ::-1]
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    shape = len(maps), features.row_shape[-1], num_classes
    return _epochs(read, shape=shape, before=before, schedule=switches.schedule, seed=switches.seed)


def fit_fast(features: Column, *, maps: LabelMaps, num_classes: int, size_px: int, switches: FastSwitches) -> Iterator[Fitted]:
    """The probe after each epoch, of some pixels of each photo. Memory does not grow with the photos.

    Raises:
        DataError: no sampled pixel has a class, or the weights are no longer finite.
    """
    sample = sample_pixels(features, maps=maps, size_px=size_px, grid=switches.grid, num_draws=switches.num_draws, max_bytes=SAMPLE_BYTES, seed=switches.seed)

    def read(photos: list[int], epoch: int) -> Batch:
        draw = epoch % len(sample.labels)
        return sample.features[draw, photos][:, None], sample.labels[draw, photos][:, None]

    shape = sample.labels.shape[1], features.row_shape[-1], num_classes
    return _epochs(read, shape=shape, before=sample.before, schedule=switches.schedule, seed=switches.seed)


def _epochs(
    read: Callable[[list[int], int], Batch], *, shape: tuple[int, int, int], before: LinearMap | None, schedule: Schedule, seed: int
) -> Iterator[Fitted]:
    """The probe after each epoch; `read` makes the batch of some photos in an epoch, `shape` counts photos, dimensions and classes."""
    num_photos, num_dims, num_classes = shape

    def batches(epoch: int) -> Iterator[Batch]:
        planned = batches_of(num_photos, batch=schedule.batch, epoch=epoch, seed=seed)
        for photos in planned[:-1] if len(planned) > 1 and len(planned[-1]) < schedule.batch else planned:
            yield read(photos, epoch)

    trained = train_linear(batches, num_dims=num_dims, num_classes=num_classes, schedule=schedule, seed=seed)
    for epoch, probe in enumerate(trained, start=1):
        if not bool(torch.isfinite(probe.weights).all()):
            raise DataError(
                f"the linear probe's weights are not finite after epoch {epoch}: its features are too large for lr {schedule.lr}; "
                f"judge by {LINEAR_CLEAN}, which standardises them, or by {LINEAR_FAST}"
            )
        yield Fitted(probe, before, epoch)


def probe_counts(
    fitted: Fitted, *, features: Column, maps: LabelMaps, size_px: int, world: World
) -> tuple[Int[numpy.ndarray, "L L"], Int[numpy.ndarray, "P L 3"]]:
    """(pixels of all photos by predicted class (row) and true class, class counts of each photo), at the photos' own sizes; void counts nowhere."""
    num_classes = len(fitted.probe.bias)

    def own_photos() -> list[Int[numpy.ndarray, "..."]]:
        total = numpy.zeros((num_classes, num_classes), dtype=numpy.int64)
        by_photo = numpy.zeros((len(maps), num_classes, 3), dtype=numpy.int64)
        for first in own_part(range(0, len(maps), PHOTOS_AT_ONCE), world=world):
            photos = range(first, min(first + PHOTOS_AT_ONCE, len(maps)))
            for photo, own in zip(photos, features.take(numpy.arange(photos.start, photos.stop)), strict=True):
                predicted = maps.at_own_size(photo, square=pixel_classes(fitted.logits(own), size_px=(size_px, size_px)))
                confusion = pixel_confusion(predicted, truth=maps.own_size(photo), num_rows=num_classes, num_classes=num_classes)
                total += confusion
                by_photo[photo] = class_counts(confusion)
        return [total, by_photo]

    total, by_photo = summed(own_photos, world=world)
    return total, by_photo


def _miou(confusion: Int[numpy.ndarray, "L L"]) -> float:
    return float(mean_iou(class_counts(confusion), absent="left out"))


def _standardiser(features: Column) -> LinearMap:
    moments = Moments(features.row_shape[-1], joint=False)
    for chunk in features.chunks():
        for photo in chunk:
            moments.add(photo.reshape(-1, photo.shape[-1]).astype(numpy.float32))
    return standardiser(moments)


def _size_px(store: StoreView) -> int:
    return int(store.store.manifest.plan.settings["size_px"])


def linear_published(settings: JudgeSettings) -> Linear:
    """A 1 x 1 convolution on the features before the embedding, by SGD on labelled photos; the best epoch on the judged photos.

    Source: MaskContrast (arXiv:2102.06191), linear evaluation, and its released code, but for its random scales and rotations: features are stored.
    Slips: the epoch is chosen on the photos that are judged.
    """
    return Linear(LINEAR_PUBLISHED, SgdSwitches(schedule=PUBLISHED_SCHEDULE, standardise=False, checkpoint="the best epoch on the judged photos"))


def linear_clean(settings: JudgeSettings) -> Linear:
    """As maskcontrast-linear/published, on standardised features, after the last epoch.

    Source: MaskContrast (arXiv:2102.06191), linear evaluation, without the slip.
    """
    return Linear(LINEAR_CLEAN, SgdSwitches(schedule=PUBLISHED_SCHEDULE, standardise=True, checkpoint="the last epoch"))


def linear_fast(settings: JudgeSettings) -> Linear:
    """As maskcontrast-linear/clean, by the same SGD on 144 labelled pixels of each photo in each epoch instead of all.

    Source: ours, for maskcontrast-linear in a fraction of its time.
    """
    return Linear(LINEAR_FAST, FastSwitches())

"""Linear: a 1 x 1 convolution from features to classes, fitted on labelled training photos. The linear probe of MaskContrast, and a fast one.

Features are those of the stores, each photo seen once and whole. The released code passes each photo through the network in every epoch, scaled and rotated at
random, which stored features cannot follow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from mcdist.distributed import World
from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import TRUE_PX, class_counts, counts_iou, mean_iou, pixel_confusion
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.linear_probe import Batch, Schedule, batches_of, train_linear
from mcdist.evaluate.probes.logistic import LinearClassifier, fit_logistic
from mcdist.evaluate.probes.lowest import Lowest
from mcdist.evaluate.probes.moments import LinearMap, Moments, standardiser
from mcdist.evaluate.probes.patch_labels import majority, patch_counts
from mcdist.evaluate.probes.upsampled import pixel_classes
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
    TRAINED_BACKBONE,
    TRAINED_DECODER,
)
from mcdist.store.names import PHOTOS
from mcdist.store.store import Column

SUBJECTS = (TRAINED_DECODER, TRAINED_BACKBONE, INITIAL_BACKBONE, BACKBONE)
"""What is probed, as far as the store holds it: what the embedding is linear in, and the backbones."""

PHOTOS_AT_ONCE = 8
CELL_BYTES = 2**28
"""Sampled cells in memory."""
MAX_CELLS = 50_000
HELD_OUT_EVERY = 10
"""Of so many training photos the last one chooses the weight decay."""

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
    """`weight_decays`: of the mean loss on standardised features, from the strongest; that of the least loss on every tenth training photo is taken.

    SGD is stopped long before it has the least loss, which keeps it from fitting few photos too well; L-BFGS needs a penalty that fits their number.
    """

    weight_decays: tuple[float, ...] = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0001)
    num_trial_iterations: int = 25
    num_iterations: int = 60
    max_cells: int = MAX_CELLS
    seed: int = 0
    fitted_on: str = "cells of --train-shards, each equally likely: at most max_cells, and 256 MiB"
    features: str = "before the embedding, of whole photos, as stored; each channel standardised"
    loss: str = "cross-entropy of each cell's logits with the class of most of its pixels; L-BFGS"
    scored_at: str = "the photo's own size: argmax at the embedded size, then the nearest pixel"
    matching: str = "none: classes are predicted"
    absent_classes: str = "left out of the mean"
    flip_and_crf: str = "none"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A probe, and which of its epochs it is, or which weight decay was chosen; 0 where it has none."""

    probe: LinearClassifier
    before: LinearMap | None
    epoch: int = 0
    weight_decay: float = 0.0

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
        """Details: the epoch or the weight decay, IoU of each class, and the confusion, row = predicted class."""
        fitted = self._fitted(store, encoder=encoder)
        confusion, by_photo = probe_counts(fitted, features=store.patches(encoder), maps=store.label_maps, size_px=_size_px(store), world=store.world)
        total = class_counts(confusion)
        iou_percent, present = 100 * counts_iou(total), total[:, TRUE_PX] > 0
        kept = store.known_truth.kept
        details = {
            "class_iou_percent": iou_percent[kept].tolist(),
            "confusion": confusion[numpy.ix_(kept, kept)].tolist(),
            **({"epoch": fitted.epoch} if fitted.epoch else {}),
            **({"weight_decay": fitted.weight_decay} if fitted.weight_decay else {}),
        }
        value = float(iou_percent[present].mean())
        return Row(self.name, Subject(encoder), MIOU, "%", (value,), details, draws=draws_of_miou([by_photo[:, present]]))

    def _fitted(self, store: StoreView, *, encoder: str) -> Fitted:
        train = store.known_train
        features, maps, size_px = train.patches(encoder), train.label_maps, _size_px(store)
        num_classes = len(train.known_truth.labels.names)
        if isinstance(self.switches, FastSwitches):
            return fit_fast(features, maps=maps, num_classes=num_classes, size_px=size_px, switches=self.switches)
        epochs = fit_sgd(features, maps=maps, num_classes=num_classes, size_px=size_px, switches=self.switches)
        if self.switches.checkpoint == "the last epoch":
            return list(epochs)[-1]
        judged, truth = store.patches(encoder), store.label_maps
        return max(epochs, key=lambda fitted: _miou(probe_counts(fitted, features=judged, maps=truth, size_px=size_px, world=store.world)[0]))


def fit_sgd(features: Column, *, maps: LabelMaps, num_classes: int, size_px: int, switches: SgdSwitches) -> Iterator[Fitted]:
    """The probe after each epoch. Photos are read batch by batch.

    Raises:
        DataError: the weights are no longer finite.
    """
    before = _standardiser(features) if switches.standardise else None
    schedule = switches.schedule

    def batches(epoch: int) -> Iterator[Batch]:
        mirrored = numpy.random.default_rng([switches.seed, epoch, 1]).random(len(maps)) < 0.5
        planned = batches_of(len(maps), batch=schedule.batch, epoch=epoch, seed=switches.seed)
        for photos in planned[:-1] if len(planned) > 1 and len(planned[-1]) < schedule.batch else planned:
            inputs = features.take(numpy.array(photos)).astype(numpy.float32)
            if before is not None:
                inputs = before.apply(inputs.reshape(-1, inputs.shape[-1])).reshape(inputs.shape)
            labels = maps.squares(photos, size_px=size_px)
            mirror = mirrored[photos]
            inputs[mirror], labels[mirror] = inputs[mirror, :, ::-1], labels[mirror, :, ::-1]
            yield torch.from_numpy(inputs), torch.from_numpy(labels)

    trained = train_linear(batches, num_dims=features.row_shape[-1], num_classes=num_classes, schedule=schedule, seed=switches.seed)
    for epoch, probe in enumerate(trained, start=1):
        if not bool(torch.isfinite(probe.weights).all()):
            raise DataError(
                f"the linear probe's weights are not finite after epoch {epoch}: its features are too large for lr {schedule.lr}; "
                f"judge by {LINEAR_CLEAN}, which standardises them, or by {LINEAR_FAST}"
            )
        yield Fitted(probe, before, epoch)


def fit_fast(features: Column, *, maps: LabelMaps, num_classes: int, size_px: int, switches: FastSwitches) -> Fitted:
    """The probe that minimises the loss of sampled cells. Memory does not grow with the photos.

    Raises:
        DataError: no labelled cell.
    """
    num_dims = features.row_shape[-1]
    cells = _sampled_cells(features, maps=maps, num_classes=num_classes, size_px=size_px, switches=switches)
    vectors, classes = _features_of(cells, features=features)
    moments = Moments(num_dims, joint=False)
    moments.add(vectors)
    before = standardiser(moments)
    inputs, targets = torch.from_numpy(before.apply(vectors)), torch.from_numpy(classes)
    held_out = torch.from_numpy(cells[:, 0] % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
    weight_decay, start = _chosen_decay(inputs, targets, held_out=held_out, num_classes=num_classes, switches=switches)
    probe = _fit(inputs, targets, num_classes=num_classes, weight_decay=weight_decay, start=start, num_iterations=switches.num_iterations)
    return Fitted(probe, before, weight_decay=weight_decay)


def _chosen_decay(
    inputs: Float32[Tensor, "N D"], targets: Int[Tensor, " N"], *, held_out: Bool[Tensor, " N"], num_classes: int, switches: FastSwitches
) -> tuple[float, LinearClassifier | None]:
    """The weight decay with the least cross-entropy on the held-out cells, tried from the strongest on until it rises, and its probe of the other cells."""
    if not held_out.any() or held_out.all():
        return switches.weight_decays[-1], None
    best: tuple[float, LinearClassifier | None] = (switches.weight_decays[0], None)
    least = float("inf")
    for weight_decay in switches.weight_decays:
        probe = _fit(
            inputs[~held_out],
            targets[~held_out],
            num_classes=num_classes,
            weight_decay=weight_decay,
            start=best[1],
            num_iterations=switches.num_trial_iterations,
        )
        loss = float(cross_entropy(probe.logits(inputs[held_out]), targets[held_out]))
        if loss >= least:
            break
        best, least = (weight_decay, probe), loss
    return best


def _fit(
    inputs: Float32[Tensor, "N D"],
    targets: Int[Tensor, " N"],
    *,
    num_classes: int,
    weight_decay: float,
    start: LinearClassifier | None,
    num_iterations: int,
) -> LinearClassifier:
    return fit_logistic(
        lambda: [(inputs, targets)],
        num_dims=inputs.shape[1],
        num_classes=num_classes,
        inverse_penalty=1 / (weight_decay * len(targets)),
        start=start,
        max_iterations=num_iterations,
    )


def _sampled_cells(features: Column, *, maps: LabelMaps, num_classes: int, size_px: int, switches: FastSwitches) -> Int[numpy.ndarray, "N 3"]:
    """(photo, cell, class) of each cell of the sample, photo by photo. The features of no cell are read for it."""
    height, width, num_dims = features.row_shape
    sample = Lowest(min(switches.max_cells, CELL_BYTES // (4 * num_dims)), seed=switches.seed)
    for photo in range(len(maps)):
        counts = patch_counts(maps.squares([photo], size_px=size_px), height=height, width=width, num_classes=num_classes)
        classes = majority(counts, with_void=False).reshape(-1).astype(numpy.int64)
        labelled = numpy.flatnonzero(classes != VOID_CLASS)
        sample.add_photo(numpy.column_stack([numpy.full(len(labelled), photo), labelled, classes[labelled]]), photo=photo)
    if sample.rows is None or not len(sample.rows):
        raise DataError(f"a probe needs labelled pixels to be fitted on, none of the {len(maps)} photos has one; check evaluate.classes against their labels")
    ordered: Int[numpy.ndarray, "N 3"] = sample.rows[numpy.lexsort((sample.rows[:, 1], sample.rows[:, 0]))]
    return ordered


def _features_of(cells: Int[numpy.ndarray, "N 3"], *, features: Column) -> tuple[Float32[numpy.ndarray, "N D"], Int[numpy.ndarray, " N"]]:
    """Features and class of each cell; one photo's features are read at a time."""
    num_dims = features.row_shape[-1]
    vectors = numpy.empty((len(cells), num_dims), dtype=numpy.float32)
    photos, begins = numpy.unique(cells[:, 0], return_index=True)
    for photo, begin, end in zip(photos, begins, [*begins[1:], len(cells)], strict=True):
        vectors[begin:end] = features.take(numpy.array([photo]))[0].reshape(-1, num_dims)[cells[begin:end, 1]]
    return vectors, cells[:, 2].copy()


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
    """A 1 x 1 convolution on the features before the embedding, by L-BFGS on a sample of labelled cells.

    Source: ours, for maskcontrast-linear in a fraction of its time.
    """
    return Linear(LINEAR_FAST, FastSwitches())

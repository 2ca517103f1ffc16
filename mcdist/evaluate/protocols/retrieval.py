"""Retrieval: each object takes the class of the nearest training object. The segment retrieval of MaskContrast.

A memory holds one vector for each training object, with the class that has most pixels inside the object's mask, background and void left out. Nothing is
clustered and nothing is matched: what is predicted are classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mcdist.distributed import ALONE, World
from mcdist.errors import DataError
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import class_iou
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.clustered_row import Matched, given_classes, photo_counts, quoted_place
from mcdist.evaluate.protocols.floors import majority_classes
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.typical import drawn_objects
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.sharing import own_part, summed
from mcdist.evaluate.table_names import HEIGHT, PHOTO, WIDTH
from mcdist.evaluate.truth import MaskCounts, count_classes
from mcdist.evaluate.view import StoreView
from mcdist.records import Retrieved, Row, Subject
from mcdist.records.names import (
    LOGIT_SUM,
    MIOU,
    RANDOM_LABELS,
    RETRIEVAL_7_CLEAN,
    RETRIEVAL_7_PUBLISHED,
    RETRIEVAL_21_CLEAN,
    RETRIEVAL_21_PUBLISHED,
    UPPER_BOUND,
)
from mcdist.store.names import PHOTOS

QUERIES_AT_ONCE = 1024
NUM_SHOWN, NUM_NEAREST = 8, 5
"""Objects that a report shows, and of each the nearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSwitches:
    """`classes`: names of those that count beside background, empty for all; pixels of the others are void, in the memory too.

    `scored_at`: pixels of the photo's own size, or of a square of the embedded size, in which each photo counts alike.
    """

    classes: tuple[str, ...]
    mean_over: Literal["classes and background", "classes"]
    scored_at: Literal["the photo's own size", "a square, as published"]
    num_seeds: int
    pooling: str = LOGIT_SUM
    similarity: str = "cosine, not whitened"
    num_neighbours: int = 1
    fitted_on: str = "the objects of --train-shards: a vector and a majority class each; none without a pixel of a class"
    matching: str = "none: classes are predicted"
    absent_classes: str = "left out of the mean"
    flip_and_crf: str = "none"


@dataclass(frozen=True, slots=True)
class Retrieval:
    """mIoU of every encoder on every set of masks, beside the class of a random training object and the majority class of each mask."""

    name: str
    switches: RetrievalSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"objects", "truth", "train labels"})

    def judge(self, store: StoreView) -> list[Row]:
        """Rows by masks, then encoder. A set of masks under which no training object has a class gets none."""
        rows = []
        for masks in store.masks:
            classes = self._memory_classes(store, masks=masks)
            if not (classes != VOID_CLASS).any():
                continue
            counts = self._counts(store, masks=masks)
            for encoder in store.encoders:
                found = self._retrieved(store, subject=Subject(encoder, masks), classes=classes)
                rows.append(self._row(store, Subject(encoder, masks), counts=counts, found=[found], num_memory=int((classes != VOID_CLASS).sum())))
            known = classes[classes != VOID_CLASS]
            drawn = [numpy.random.default_rng(seed).choice(known, size=counts.num_objects) for seed in range(self.switches.num_seeds)]
            rows.append(self._row(store, Subject(RANDOM_LABELS, masks), counts=counts, found=drawn, num_memory=len(known)))
            rows.append(self._row(store, Subject(UPPER_BOUND, masks), counts=counts, found=[majority_classes(counts)[0]], num_memory=len(known)))
        if not rows:
            raise DataError(f"{self.name} needs training objects that show one of its classes, those of {store.known_train.dataset} do not")
        return rows

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder on the masks that it predicts."""
        return quoted_place(rows)

    def paint(self, store: StoreView, *, row: Row) -> Painting:
        """The class that each object took; one that no judged photo shows has no colour."""
        classes = self._memory_classes(store, masks=row.subject.masks)
        found = self._retrieved(store, subject=row.subject, classes=classes)
        truth = store.known_truth
        place = numpy.full(len(truth.labels.names), VOID_CLASS)
        place[truth.kept] = numpy.arange(len(truth.kept))
        return Painting(classes=truth.classes, masks=row.subject.masks, class_of_object=place[found], class_of_background=0)

    def retrieved(self, store: StoreView, *, row: Row) -> tuple[Retrieved, ...]:
        """NUM_SHOWN objects that have a class, drawn at random from as many photos, and the NUM_NEAREST training objects nearest to each."""
        subject, train, names = row.subject, store.known_train, store.known_truth.labels.names
        true_classes, classes = self._majority_classes(store, masks=subject.masks), self._memory_classes(store, masks=subject.masks)
        judged, memory = numpy.flatnonzero(true_classes != VOID_CLASS), numpy.flatnonzero(classes != VOID_CLASS)
        chosen = judged[drawn_objects(store.store.column(subject.masks, PHOTO).read()[judged], num=NUM_SHOWN)]
        queries, known = (normalize(view.vectors(subject, pooling=self.switches.pooling)[rows], dim=1) for view, rows in ((store, chosen), (train, memory)))
        nearest = memory[(queries @ known.T).argsort(dim=1, descending=True, stable=True)[:, :NUM_NEAREST].numpy()]
        return tuple(
            Retrieved(example, names[true], tuple(zip(train.examples(subject.masks, rows=found.tolist()), [names[one] for one in classes[found]], strict=True)))
            for example, true, found in zip(store.examples(subject.masks, rows=chosen.tolist()), true_classes[chosen], nearest, strict=True)
        )

    def _is_scored(self, store: StoreView) -> Bool[numpy.ndarray, " L"]:
        """Which classes count, background among them."""
        names = store.known_truth.labels.names
        wanted = self.switches.classes or names[1:]
        if not set(wanted) & set(names[1:]):
            raise DataError(f"{self.name} judges {', '.join(wanted)}, evaluate.classes names none of these; use the protocol of all classes")
        return numpy.array([True, *(name in wanted for name in names[1:])])

    def _counts(self, store: StoreView, *, masks: str) -> MaskCounts:
        """Pixels of the judged photos by class of `labels`, in the unit that `scored_at` says."""
        scored = self._is_scored(store)
        objects, outside, photo_of = count_classes(store.store, masks=masks, labels=store.known_truth.labels)
        counts = MaskCounts(masks, objects * scored, outside * scored, photo_of)
        return counts if self.switches.scored_at == "the photo's own size" else _as_squares(counts, store=store)

    def _memory_classes(self, store: StoreView, *, masks: str) -> Int[numpy.ndarray, " M"]:
        """`_majority_classes` of the training objects."""
        return self._majority_classes(store.known_train, masks=masks, is_scored=self._is_scored(store))

    def _majority_classes(self, view: StoreView, *, masks: str, is_scored: Bool[numpy.ndarray, " L"] | None = None) -> Int[numpy.ndarray, " M"]:
        """The class of each object: that of most pixels, background left out; VOID_CLASS where it has a pixel of none."""
        objects, _, _ = count_classes(view.store, masks=masks, labels=view.known_truth.labels)
        others = (objects * (self._is_scored(view) if is_scored is None else is_scored))[:, 1:]
        classes: Int[numpy.ndarray, " M"] = numpy.where(others.any(axis=1), others.argmax(axis=1) + 1, VOID_CLASS)
        return classes

    def _retrieved(self, store: StoreView, *, subject: Subject, classes: Int[numpy.ndarray, " M"]) -> Int[numpy.ndarray, " O"]:
        memory = store.known_train.vectors(subject, pooling=self.switches.pooling)[torch.from_numpy(classes != VOID_CLASS)]
        nearest = nearest_rows(store.vectors(subject, pooling=self.switches.pooling), memory=memory, world=store.world)
        found: Int[numpy.ndarray, " O"] = classes[classes != VOID_CLASS][nearest]
        return found

    def _row(self, store: StoreView, subject: Subject, *, counts: MaskCounts, found: Sequence[Int[numpy.ndarray, " O"]], num_memory: int) -> Row:
        """Details: objects, memory, IoU of each class (mean over seeds) and the confusion of the first seed."""
        scored = counts.present & self._is_scored(store)
        scored[0] &= self.switches.mean_over == "classes and background" and store.known_truth.labels.has_background
        matched = [given_classes(classes, 0, counts=counts) for classes in found]
        iou_percent = numpy.stack([100 * class_iou(one.confusion) for one in matched])
        kept = store.known_truth.kept
        details = {
            "num_objects": counts.num_objects,
            "num_memory": num_memory,
            "mean over": [name for name, is_scored in zip(store.known_truth.labels.names, scored, strict=True) if is_scored],
            "class_iou_percent": iou_percent.mean(axis=0)[kept].tolist(),
            "confusion": matched[0].confusion[numpy.ix_(kept, kept)].tolist(),
        }
        values = tuple(float(value) for value in iou_percent[:, scored].mean(axis=1))
        draws = draws_of_miou([_scored_counts(one, counts=counts, scored=scored) for one in matched])
        return Row(protocol=self.name, subject=subject, metric=MIOU, unit="%", values=values, details=details, draws=draws)


def nearest_rows(queries: Float[Tensor, "Q D"], *, memory: Float[Tensor, "M D"], world: World = ALONE) -> Int[numpy.ndarray, " Q"]:
    """The row of `memory` with the largest cosine, the first of several, for each query. Exact; QUERIES_AT_ONCE x M cosines in memory. Each rank
    has a part of the queries."""
    unit = normalize(memory, dim=1).T.contiguous()

    def own() -> list[Int[numpy.ndarray, " Q"]]:
        rows = numpy.zeros(len(queries), dtype=numpy.int64)
        for first in own_part(range(0, len(queries), QUERIES_AT_ONCE), world=world):
            rows[first : first + QUERIES_AT_ONCE] = (normalize(queries[first : first + QUERIES_AT_ONCE], dim=1) @ unit).argmax(dim=1).numpy()
        return [rows]

    return summed(own, world=world)[0]


def _scored_counts(matched: Matched, *, counts: MaskCounts, scored: Bool[numpy.ndarray, " L"]) -> Int[numpy.ndarray, "P c 3"]:
    return photo_counts(matched.class_of_object, matched.class_of_background, counts=counts)[:, scored]


def _as_squares(counts: MaskCounts, *, store: StoreView) -> MaskCounts:
    """The counts as they are, up to rounding, where photo and ground truth are resized to a square."""
    size_px = store.store.manifest.plan.settings["size_px"]
    areas_px = numpy.multiply(*(store.store.column(PHOTOS, name).read().astype(numpy.int64) for name in (HEIGHT, WIDTH)))
    scale = size_px**2 / areas_px[:, None]
    objects, outside = counts.histograms * scale[counts.photo_of], counts.outside * scale
    return replace(counts, histograms=numpy.rint(objects).astype(numpy.int64), outside=numpy.rint(outside).astype(numpy.int64))


def retrieval_21_published(settings: JudgeSettings) -> Retrieval:
    """Each object takes the class of the nearest training object; all classes and background; counted as on 512-pixel squares.

    Source: MaskContrast (arXiv:2102.06191), segment retrieval, and its released code.
    Slips: photos and ground truth are counted as squares, so a small photo weighs as much as a large one; its README names trainaug, its code reads train.
    """
    return _retrieval(RETRIEVAL_21_PUBLISHED, settings, classes=(), published=True)


def retrieval_21_clean(settings: JudgeSettings) -> Retrieval:
    """As maskcontrast-retrieval-21/published, every pixel of the photos counted at its own size.

    Source: MaskContrast (arXiv:2102.06191), segment retrieval, without the slip.
    """
    return _retrieval(RETRIEVAL_21_CLEAN, settings, classes=(), published=False)


def retrieval_7_published(settings: JudgeSettings) -> Retrieval:
    """As maskcontrast-retrieval-21/published for seven classes, the others void; the mean leaves background out.

    Source: MaskContrast (arXiv:2102.06191), segment retrieval; the classes are those of configs/classes/voc7.yaml, as far as evaluate.classes names them.
    Slips: those of maskcontrast-retrieval-21/published.
    """
    return _retrieval(RETRIEVAL_7_PUBLISHED, settings, classes=settings.retrieval_classes, published=True)


def retrieval_7_clean(settings: JudgeSettings) -> Retrieval:
    """As maskcontrast-retrieval-7/published, every pixel of the photos counted at its own size.

    Source: MaskContrast (arXiv:2102.06191), segment retrieval, without the slip.
    """
    return _retrieval(RETRIEVAL_7_CLEAN, settings, classes=settings.retrieval_classes, published=False)


def _retrieval(name: str, settings: JudgeSettings, *, classes: tuple[str, ...], published: bool) -> Retrieval:
    switches = RetrievalSwitches(
        classes=classes,
        mean_over="classes" if classes else "classes and background",
        scored_at="a square, as published" if published else "the photo's own size",
        num_seeds=settings.num_seeds,
    )
    return Retrieval(name, switches)

"""ClusteredRow: from clusters of objects to a row of mIoU. What every protocol that clusters objects has in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Int

from mcdist.evaluate.metrics.assign import assign, matching_for
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import class_confusion, class_iou, cluster_confusion, object_class_counts
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.truth import MaskCounts, Truth
from mcdist.evaluate.view import StoreView
from mcdist.records import Row, Subject
from mcdist.records.names import MIOU, PREDICTED, TRAINED

ClustersOfSeed = Callable[[int], Int[numpy.ndarray, " O"]]
"""A seed -> the cluster of each object."""


def quoted_place(rows: Sequence[Row]) -> int:
    """The place of the first row of the trained encoder on the masks that it predicts; the first row where there is no such encoder."""
    subjects = [row.subject for row in rows]
    return subjects.index(Subject(TRAINED, PREDICTED)) if Subject(TRAINED, PREDICTED) in subjects else 0


def cluster_numbers(asked: tuple[int, ...], *, store: StoreView) -> tuple[int, ...]:
    """Each K once, 0 being as many as there are classes without background."""
    return tuple(dict.fromkeys(number or len(store.known_truth.kept) - 1 for number in asked))


@dataclass(frozen=True, slots=True)
class Matched:
    """Objects with classes: the confusion [C, C] (row = given class), the class of each object, and that of what is outside of all."""

    confusion: Int[numpy.ndarray, "C C"]
    class_of_object: Int[numpy.ndarray, " O"]
    class_of_background: int


def miou_row(
    protocol: str,
    subject: Subject,
    *,
    counts: MaskCounts,
    num_clusters: int,
    num_seeds: int,
    clusters_of: ClustersOfSeed,
    facts: dict[str, Any],
) -> Row:
    """mIoU over seeds 0..num_seeds-1, with its draws over photos. Details: IoU of each class (mean over seeds) and the confusion of the first seed, row =
    predicted class."""
    found = [match_clusters(clusters_of(seed), counts=counts, num_clusters=num_clusters) for seed in range(num_seeds)]
    facts = {"num_clusters": num_clusters, "matching": matching_for(num_clusters=num_clusters, num_classes=len(counts.background)), **facts}
    return matched_row(protocol, subject, counts=counts, found=found, facts=facts)


def matched_row(protocol: str, subject: Subject, *, counts: MaskCounts, found: Sequence[Matched], facts: dict[str, Any]) -> Row:
    """mIoU of each of several ways to give objects classes; see `miou_row`."""
    iou_percent = numpy.stack([100 * class_iou(one.confusion) for one in found])
    details = {
        "num_objects": counts.num_objects,
        **facts,
        "class_iou_percent": iou_percent.mean(axis=0).tolist(),
        "confusion": found[0].confusion.tolist(),
    }
    values = tuple(float(value) for value in iou_percent[:, counts.present].mean(axis=1))
    draws = draws_of_miou([photo_counts(one.class_of_object, one.class_of_background, counts=counts) for one in found])
    return Row(protocol=protocol, subject=subject, metric=MIOU, unit="%", values=values, details=details, draws=draws)


def photo_counts(class_of_object: Int[numpy.ndarray, " O"], class_of_background: int, *, counts: MaskCounts) -> Int[numpy.ndarray, "P C 3"]:
    """The class counts of each photo, where each object has one class and the rest of a photo another."""
    return object_class_counts(
        class_of_object, class_of_background=class_of_background, histograms=counts.histograms, outside=counts.outside, photo_of=counts.photo_of
    )


def match_clusters(clusters: Int[numpy.ndarray, " O"], *, counts: MaskCounts, num_clusters: int) -> Matched:
    """The classes that the clusters of one clustering are matched with."""
    confusion = cluster_confusion(clusters, histograms=counts.histograms, background=counts.background, num_clusters=num_clusters)
    class_of = assign(confusion, matching=matching_for(num_clusters=num_clusters, num_classes=confusion.shape[1]))
    return Matched(class_confusion(confusion, class_of=class_of), class_of[clusters], int(class_of[num_clusters]))


def given_classes(class_of_object: Int[numpy.ndarray, " O"], class_of_background: int, *, counts: MaskCounts) -> Matched:
    """Objects whose classes are known from elsewhere."""
    num_classes = len(counts.background)
    confusion = cluster_confusion(class_of_object, histograms=counts.histograms, background=counts.background, num_clusters=num_classes)
    class_of = numpy.append(numpy.arange(num_classes), class_of_background)
    return Matched(class_confusion(confusion, class_of=class_of), class_of_object, class_of_background)


def matched_painting(clusters: Int[numpy.ndarray, " O"], *, row: Row, truth: Truth) -> Painting:
    """The class of each object behind `row`, of one clustering."""
    matched = match_clusters(clusters, counts=truth.counts[row.subject.masks], num_clusters=row.num_clusters)
    return Painting(classes=truth.classes, masks=row.subject.masks, class_of_object=matched.class_of_object, class_of_background=matched.class_of_background)

"""ClusteredRow: from clusters of objects to a row of mIoU. What every protocol that clusters objects has in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float, Int

from mcdist.distributed import ALONE, World
from mcdist.evaluate.metrics.assign import assign, matching_for
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import class_confusion, class_iou, cluster_confusion, object_class_counts
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.typical import typical_objects
from mcdist.evaluate.sharing import rows_of_all
from mcdist.evaluate.truth import MaskCounts
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
    """Objects with classes: the confusion [C, C] (row = given class), the class of each cluster, of each object, and of what is outside of all."""

    confusion: Int[numpy.ndarray, "C C"]
    class_of_cluster: Int[numpy.ndarray, " K"]
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
    world: World = ALONE,
) -> Row:
    """mIoU over seeds 0..num_seeds-1, with its draws over photos. Details: IoU of each class (mean over seeds), and of the first seed the confusion (row =
    predicted class), the class that each cluster was matched with, and its objects."""
    clusters = rows_of_all(clusters_of, num_rows=num_seeds, length=counts.num_objects, world=world)  # each rank clusters with some of the seeds
    found = [match_clusters(one, counts=counts, num_clusters=num_clusters) for one in clusters]
    facts = {
        "num_clusters": num_clusters,
        "matching": matching_for(num_clusters=num_clusters, num_classes=len(counts.background)),
        "class_of_cluster": found[0].class_of_cluster.tolist(),
        "cluster_sizes": numpy.bincount(clusters[0], minlength=num_clusters)[:num_clusters].tolist(),
        **facts,
    }
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
    draws = draws_of_miou(photo_counts(one.class_of_object, one.class_of_background, counts=counts) for one in found)
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
    return Matched(class_confusion(confusion, class_of=class_of), class_of[:num_clusters], class_of[clusters], int(class_of[num_clusters]))


def given_classes(class_of_object: Int[numpy.ndarray, " O"], class_of_background: int, *, counts: MaskCounts) -> Matched:
    """Objects whose classes are known from elsewhere."""
    num_classes = len(counts.background)
    confusion = cluster_confusion(class_of_object, histograms=counts.histograms, background=counts.background, num_clusters=num_classes)
    class_of = numpy.append(numpy.arange(num_classes), class_of_background)
    return Matched(class_confusion(confusion, class_of=class_of), class_of[:num_classes], class_of_object, class_of_background)


def matched_painting(clusters: Int[numpy.ndarray, " O"], *, row: Row, store: StoreView, points: Float[numpy.ndarray, "O D"] | None = None) -> Painting:
    """The class of each object behind `row`, of one clustering; with the `points` that were clustered also the typical objects of each cluster."""
    truth, masks = store.known_truth, row.subject.masks
    matched = match_clusters(clusters, counts=truth.counts[masks], num_clusters=row.num_clusters)
    typical = [] if points is None else typical_objects(points, clusters=clusters, numbers=range(row.num_clusters))
    return Painting(
        classes=truth.classes,
        masks=masks,
        class_of_object=matched.class_of_object,
        class_of_background=matched.class_of_background,
        examples=tuple(store.examples(masks, rows=rows) for rows in typical),
    )

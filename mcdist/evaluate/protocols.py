"""Protocols: object vectors to a row of the table. Every row goes through the same whitening, K-means, matching and counting."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.evaluate.assign import assign, matching_for
from mcdist.evaluate.confusion import class_confusion, class_iou, cluster_confusion
from mcdist.evaluate.kmeans import kmeans
from mcdist.evaluate.whiten import whiten
from mcdist.records import Score

RANDOM_LABELS = "random labels"


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """What lies where on one set of object masks: class pixels of each object, of everything outside them, and the classes' names in order."""

    masks: str
    histograms: Int[numpy.ndarray, "O C"]
    background: Int[numpy.ndarray, " C"]
    classes: tuple[str, ...]

    @property
    def num_objects(self) -> int:
        """Objects over all photos."""
        return self.histograms.shape[0]

    @property
    def present(self) -> numpy.ndarray:
        """Which classes the ground truth shows at all, `bool [C]`; mIoU is the mean over these."""
        return self.histograms.sum(axis=0) + self.background > 0


@dataclass(frozen=True, slots=True)
class Clustering:
    """A row of the table, and what its first seed made of each object: its class, and the class of everything outside objects."""

    score: Score
    class_of_object: Int[numpy.ndarray, " O"]
    class_of_background: int


def cluster_row(
    vectors: Float[Tensor, "O D"],
    *,
    counts: MaskCounts,
    protocol: str,
    encoder: str,
    pca_dim: int,
    num_clusters: int,
    num_seeds: int,
) -> tuple[Clustering, int]:
    """PCA with whitening (`pca_dim` 0: none), K-means with seeds 0..num_seeds-1, matching, IoU; and the dimensions that were clustered.

    The dimensions are fewer than `pca_dim` where the objects or the vectors have no more to give.
    """
    points = whiten(vectors, dim=pca_dim) if pca_dim and len(vectors) else vectors
    array = points.numpy()
    row = _row(
        counts,
        protocol=protocol,
        encoder=encoder,
        num_clusters=num_clusters,
        num_seeds=num_seeds,
        clusters_of=lambda seed: kmeans(array, num_clusters=num_clusters, seed=seed),
    )
    return row, points.shape[1]


def random_row(*, counts: MaskCounts, protocol: str, num_clusters: int, num_seeds: int) -> Clustering:
    """The floor: each object in a cluster drawn uniformly, then the same matching and counting."""

    def draw(seed: int) -> numpy.ndarray:
        return numpy.random.default_rng(seed).integers(num_clusters, size=counts.num_objects)

    return _row(counts, protocol=protocol, encoder=RANDOM_LABELS, num_clusters=num_clusters, num_seeds=num_seeds, clusters_of=draw)


def _row(
    counts: MaskCounts,
    *,
    protocol: str,
    encoder: str,
    num_clusters: int,
    num_seeds: int,
    clusters_of: Callable[[int], numpy.ndarray],
) -> Clustering:
    found = [match_clusters(clusters_of(seed), counts=counts, num_clusters=num_clusters) for seed in range(num_seeds)]
    iou_percent = numpy.stack([100 * class_iou(confusion) for confusion, _, _ in found])
    confusion, class_of_object, class_of_background = found[0]
    score = Score(
        masks=counts.masks,
        protocol=protocol,
        encoder=encoder,
        miou_percent=tuple(float(value) for value in iou_percent[:, counts.present].mean(axis=1)),
        class_iou_percent=tuple(float(value) for value in iou_percent.mean(axis=0)),
        num_objects=counts.num_objects,
        confusion=tuple(tuple(int(value) for value in row) for row in confusion),
    )
    return Clustering(score, class_of_object, class_of_background)


def match_clusters(
    clusters: Int[numpy.ndarray, " O"], *, counts: MaskCounts, num_clusters: int
) -> tuple[Int[numpy.ndarray, "C C"], Int[numpy.ndarray, " O"], int]:
    """(matched confusion, class of each object, class of the background row) of one clustering."""
    confusion = cluster_confusion(clusters, histograms=counts.histograms, background=counts.background, num_clusters=num_clusters)
    class_of = assign(confusion, matching=matching_for(num_clusters=num_clusters, num_classes=confusion.shape[1]))
    return class_confusion(confusion, class_of=class_of), class_of[clusters], int(class_of[num_clusters])

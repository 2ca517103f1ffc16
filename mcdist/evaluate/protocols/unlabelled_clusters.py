"""UnlabelledClusters: clusters without ground truth. No score says whether they are right; these say how clear they are, how steady, and how large."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from jaxtyping import Float, Int

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.silhouette import silhouette
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.evaluate.whiten import whiten
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.clustering.kmeans import kmeans
from mcdist.records import Row, Subject
from mcdist.records.names import BACKBONE, LOGIT_SUM, POOLINGS, PREDICTED, PROPOSALS, SILHOUETTE, TRAINED, UNIT_MEAN, UNLABELLED_CLUSTERS

QUOTED = (Subject(TRAINED, PREDICTED), Subject(TRAINED, PROPOSALS), Subject(BACKBONE, PROPOSALS))
"""The row to show, the first that there is: the second where the encoder predicts fewer than two objects, as after a short training. Of the unit means:
whitening, as the scores have it, turns the few hundred objects of a small folder into noise, in which no two seeds agree."""
TRIED_CLUSTERS = (4, 6, 8, 12, 16, 24, 32)
MAX_CLUSTERS = 253
"""A panel's map has a byte a pixel: background, the clusters, void."""
EXAMPLES = 8

Points = Float[numpy.ndarray, "O d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledClustersSwitches:
    """PCA dimensions of each pooling, 0 for none. `num_clusters` 0: of `tried_clusters` the number with the best silhouette of the quoted row."""

    logit_sum_pca_dim: int
    unit_mean_pca_dim: int
    num_clusters: int
    num_seeds: int
    tried_clusters: tuple[int, ...] = TRIED_CLUSTERS

    def __post_init__(self) -> None:
        if self.num_clusters > MAX_CLUSTERS:
            raise ConfigError(f"evaluate.num_clusters must be at most {MAX_CLUSTERS} for clusters without ground truth, got {self.num_clusters}")


@dataclass(frozen=True, slots=True)
class UnlabelledClusters:
    """Silhouettes of every encoder, pooling and set of masks, all with the same number of clusters."""

    switches: UnlabelledClustersSwitches
    name: str = UNLABELLED_CLUSTERS
    needs: ClassVar[frozenset[Need]] = frozenset({"objects"})

    def judge(self, store: StoreView) -> list[Row]:
        """Rows by masks, pooling, encoder."""
        quoted = self._quoted(store)
        num_clusters = self.switches.num_clusters or self._choose(self._points(store, subject=quoted, pooling=UNIT_MEAN))
        return [
            self._row(store, subject=Subject(encoder, masks), pooling=pooling, num_clusters=num_clusters)
            for masks in store.masks
            for pooling in POOLINGS
            for encoder in store.encoders
        ]

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder's unit means, on predicted masks where there are at least two."""
        places = {row.subject: place for place, row in enumerate(rows) if row.details["pooling"] == UNIT_MEAN}
        return next(places[subject] for subject in QUOTED if subject in places and rows[places[subject]].details["num_objects"] >= 2)

    def paint(self, store: StoreView, *, row: Row) -> Painting:
        """Clusters of the first seed by number, from the largest down, and for each the objects nearest to its mean."""
        points, num_clusters = self._points(store, subject=row.subject, pooling=row.details["pooling"]), row.details["num_clusters"]
        cluster_of_object = _largest_first(kmeans(points, num_clusters=num_clusters, seed=0), num_clusters=num_clusters)
        nearest = _nearest_objects(points, clusters=cluster_of_object, num_clusters=num_clusters)
        return Painting(
            classes=("background", *(f"cluster {number}" for number in range(1, num_clusters + 1))),
            masks=row.subject.masks,
            class_of_object=cluster_of_object,
            class_of_background=0,
            examples=tuple(store.examples(row.subject.masks, rows=rows) for rows in nearest),
        )

    def _quoted(self, store: StoreView) -> Subject:
        quoted = next((subject for subject in QUOTED if subject.encoder in store.encoders and store.num_objects(subject.masks) >= 2), None)
        if quoted is None:
            raise DataError(f"clustering needs at least two objects, {store.dataset} gave fewer, predicted or proposed; give more photos")
        return quoted

    def _choose(self, points: Points) -> int:
        """The tried number of clusters with the best silhouette; fewer than objects."""
        tried = [number for number in self.switches.tried_clusters if number < len(points)] or [max(1, len(points) - 1)]
        return max(tried, key=lambda number: silhouette(points, clusters=kmeans(points, num_clusters=number, seed=0)))

    def _points(self, store: StoreView, *, subject: Subject, pooling: str) -> Points:
        vectors = store.vectors(subject, pooling=pooling)
        dim = self.switches.logit_sum_pca_dim if pooling == LOGIT_SUM else self.switches.unit_mean_pca_dim
        return (whiten(vectors, dim=dim) if dim and len(vectors) else vectors).numpy()

    def _chosen_by(self) -> str:
        return "evaluate.num_clusters" if self.switches.num_clusters else "the best silhouette of " + ", ".join(map(str, self.switches.tried_clusters))

    def _row(self, store: StoreView, *, subject: Subject, pooling: str, num_clusters: int) -> Row:
        """Details: adjusted Rand index between seeds, and objects of each cluster of the first seed, from the largest down."""
        points = self._points(store, subject=subject, pooling=pooling)
        found = [kmeans(points, num_clusters=num_clusters, seed=seed) for seed in range(self.switches.num_seeds)] if len(points) else []
        agreement = [adjusted_rand(found[0], other=other) for other in found[1:]]
        details = {
            "pooling": pooling,
            "num_objects": len(points),
            "num_clusters": num_clusters,
            "chosen_by": self._chosen_by(),
            "agreement": float(numpy.mean(agreement)) if agreement else 1.0,
            "sizes": sorted(numpy.bincount(found[0], minlength=num_clusters).tolist(), reverse=True) if found else [],
        }
        values = tuple(silhouette(points, clusters=clusters) for clusters in found)
        return Row(protocol=self.name, subject=subject, metric=SILHOUETTE, unit="", values=values, details=details)


def unlabelled_clusters(settings: JudgeSettings) -> UnlabelledClusters:
    """K-means clusters by number, how clear and how steady they are; needs no ground truth."""
    return UnlabelledClusters(
        UnlabelledClustersSwitches(
            logit_sum_pca_dim=settings.pca_dim,
            unit_mean_pca_dim=settings.mean_embedding_pca_dim,
            num_clusters=settings.num_clusters[0],
            num_seeds=settings.num_seeds,
        )
    )


def _largest_first(clusters: Int[numpy.ndarray, " O"], *, num_clusters: int) -> Int[numpy.ndarray, " O"]:
    """The same clusters, numbered from 1 by size."""
    largest_first = numpy.argsort(-numpy.bincount(clusters, minlength=num_clusters), kind="stable")
    number = numpy.empty(num_clusters, dtype=numpy.int64)
    number[largest_first] = numpy.arange(1, num_clusters + 1)
    return number[clusters]


def _nearest_objects(points: Points, *, clusters: Int[numpy.ndarray, " O"], num_clusters: int) -> list[list[int]]:
    """For each cluster the objects nearest to its mean."""
    nearest = []
    for number in range(1, num_clusters + 1):
        members = numpy.flatnonzero(clusters == number)
        offset = points[members] - points[members].mean(axis=0) if len(members) else points[members]
        nearest.append(members[numpy.argsort((offset**2).sum(axis=1), kind="stable")[:EXAMPLES]].tolist())
    return nearest

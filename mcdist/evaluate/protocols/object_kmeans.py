"""ObjectKMeans: objects are clustered, clusters are matched to classes, and IoU is counted over all pixels.

Every row takes the same way: whitening, K-means, matching, counting. `maskcontrast-kmeans` is the paper's released code; `mean-embedding` is the mean
of unit pixel embeddings instead of the sum weighted by the saliency logit, unwhitened unless it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy
import torch
from jaxtyping import Float

from mcdist.choices import KmeansMethod
from mcdist.evaluate.metrics.assign import MAJORITY
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.clustered_row import (
    ClustersOfSeed,
    cluster_numbers,
    given_classes,
    matched_painting,
    matched_row,
    miou_row,
    quoted_place,
)
from mcdist.evaluate.protocols.floors import majority_classes, random_clusters, random_vectors, true_masks
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.evaluate.whiten import whiten
from mcdist.groups.clustering.kmeans import NUM_ITERATIONS, NUM_STARTS, kmeans
from mcdist.records import Row, Subject
from mcdist.records.names import (
    FLOORS,
    LOGIT_SUM,
    MASKCONTRAST_KMEANS,
    MEAN_EMBEDDING,
    RANDOM_LABELS,
    RANDOM_VECTORS,
    TRUE_MASKS,
    UNIT_MEAN,
    UPPER_BOUND,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKMeansSwitches:
    """`pca_dim`: dimensions after PCA with whitening over all objects, 0 for none. `num_clusters`: each K, 0: classes shown without background."""

    pooling: str
    pca_dim: int
    num_clusters: tuple[int, ...]
    num_seeds: int
    num_iterations: int = NUM_ITERATIONS
    num_starts: int = NUM_STARTS
    kmeans: KmeansMethod = "faiss"
    fitted_on: str = "the judged objects"
    floors: bool = False
    """Also rows of random vectors, of random labels (on the true masks too) and of the majority class of each mask."""


@dataclass(frozen=True, slots=True)
class ObjectKMeans:
    """mIoU of every encoder on every set of masks. PCA with whitening, K-means with seeds 0.., one-to-one matching (many-to-one with more clusters)."""

    name: str
    switches: ObjectKMeansSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"objects", "truth"})

    def judge(self, store: StoreView) -> list[Row]:
        """Rows by masks, then number of clusters, then encoder."""
        groups = [(masks, num_clusters) for masks in store.masks for num_clusters in cluster_numbers(self.switches.num_clusters, store=store)]
        if not self.switches.floors:
            return [self._row(store, subject=Subject(encoder, masks), num_clusters=number) for masks, number in groups for encoder in store.encoders]
        rows = []
        for masks, number in groups:
            rows += [self._row(store, subject=Subject(encoder, masks), num_clusters=number) for encoder in (*store.encoders, *FLOORS)]
            rows.append(self._upper_bound(store, masks=masks, num_clusters=number))
        return rows + [self._true_masks_floor(store, num_clusters=number) for number in cluster_numbers(self.switches.num_clusters, store=store)]

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder on the masks that it predicts, with the first number of clusters."""
        return quoted_place(rows)

    def paint(self, store: StoreView, *, row: Row) -> Painting:
        """What the first seed made of each object, and the objects nearest to each cluster's mean."""
        clusters_of, _ = self._clustering(store, subject=row.subject, num_clusters=row.num_clusters)
        return matched_painting(clusters_of(0), row=row, store=store, points=self._points(store, subject=row.subject))

    def _row(self, store: StoreView, *, subject: Subject, num_clusters: int) -> Row:
        clusters_of, facts = self._clustering(store, subject=subject, num_clusters=num_clusters)
        return miou_row(
            self.name,
            subject,
            counts=store.known_truth.counts[subject.masks],
            num_clusters=num_clusters,
            num_seeds=self.switches.num_seeds,
            clusters_of=clusters_of,
            facts=facts,
            world=store.world,
        )

    def _clustering(self, store: StoreView, *, subject: Subject, num_clusters: int) -> tuple[ClustersOfSeed, dict[str, Any]]:
        """The clusters of each seed, and how many dimensions were clustered."""
        if subject.encoder == RANDOM_LABELS:
            num_objects = store.num_objects(subject.masks)
            return lambda seed: random_clusters(num_objects, num_clusters=num_clusters, seed=seed), {}
        points = self._points(store, subject=subject)
        return lambda seed: kmeans(points, num_clusters=num_clusters, seed=seed, method=self.switches.kmeans), {"num_dims": points.shape[1]}

    def _points(self, store: StoreView, *, subject: Subject) -> Float[numpy.ndarray, "O d"]:
        trained = subject if subject.encoder != RANDOM_VECTORS else replace(subject, encoder=store.encoders[0])
        vectors = store.vectors(trained, pooling=self.switches.pooling)
        if subject.encoder == RANDOM_VECTORS:
            vectors = torch.from_numpy(random_vectors(len(vectors), num_dims=vectors.shape[1], seed=0))
        return (whiten(vectors, dim=self.switches.pca_dim) if self.switches.pca_dim and len(vectors) else vectors).numpy()

    def _upper_bound(self, store: StoreView, *, masks: str, num_clusters: int) -> Row:
        """What giving each mask its majority class reaches; the number of clusters only says beside which rows to read it."""
        counts = store.known_truth.counts[masks]
        found = given_classes(*majority_classes(counts), counts=counts)
        return matched_row(self.name, Subject(UPPER_BOUND, masks), counts=counts, found=[found], facts={"num_clusters": num_clusters, "matching": MAJORITY})

    def _true_masks_floor(self, store: StoreView, *, num_clusters: int) -> Row:
        counts = true_masks(store.known_truth.counts[store.masks[0]])
        return miou_row(
            self.name,
            Subject(RANDOM_LABELS, TRUE_MASKS),
            counts=counts,
            num_clusters=num_clusters,
            num_seeds=self.switches.num_seeds,
            clusters_of=lambda seed: random_clusters(counts.num_objects, num_clusters=num_clusters, seed=seed),
            facts={},
        )


def maskcontrast_kmeans(settings: JudgeSettings) -> ObjectKMeans:
    """K-means of whitened object vectors, weighted by the saliency logit, as the paper's released code does it."""
    switches = ObjectKMeansSwitches(
        pooling=LOGIT_SUM,
        pca_dim=settings.pca_dim,
        num_clusters=settings.num_clusters,
        num_seeds=settings.num_seeds,
        kmeans=settings.kmeans,
        floors=True,
    )
    return ObjectKMeans(MASKCONTRAST_KMEANS, switches)


def mean_embedding(settings: JudgeSettings) -> ObjectKMeans:
    """K-means of each object's mean unit embedding."""
    switches = ObjectKMeansSwitches(
        pooling=UNIT_MEAN,
        pca_dim=settings.mean_embedding_pca_dim,
        num_clusters=settings.num_clusters,
        num_seeds=settings.num_seeds,
        kmeans=settings.kmeans,
    )
    return ObjectKMeans(MEAN_EMBEDDING, switches)

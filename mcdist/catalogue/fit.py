"""Fit: object vectors to Clusters. K-means of the directions, numbered from the largest cluster down, and a temperature that makes confidences mean something.

The temperature is fitted without labels. Two halves of the objects are clustered apart and their clusters are matched one to one; an object agrees where
both put it into matched clusters. Of all temperatures the one is kept under which the confidences predict best which objects agree (maximum likelihood).
So a confidence of 0.8 says: of objects like this one, 8 in 10 would be together with the same others if other photos had been clustered.
"""

from dataclasses import dataclass, replace

import numpy
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from mcdist.catalogue.clusters import Clusters, confidences
from mcdist.errors import DataError
from mcdist.evaluate.whiten import whitening
from mcdist.groups.clustering.kmeans import fit_centres
from mcdist.groups.find import find_groups
from mcdist.groups.graph.rows import ArrayRows, unit
from mcdist.groups.settings import DEFAULTS, GroupSettings

CLUSTERS_A_GROUP = 3
"""Overclustering: a cluster that holds two things cannot be named, two clusters with one name cost a second name."""
CLUSTERS_MIN, OBJECTS_A_CLUSTER = 10, 10
CLUSTERS_MAX = 253
"""A segment map has a byte a pixel: background, the clusters, void."""
GRAPH_OBJECTS_MAX = 5_000
GRAPH_NEIGHBOURS = DEFAULTS.neighbours[0]

TEMPERATURES = tuple(numpy.geomspace(0.005, 1.0, 60).tolist())
TEMPERATURE_UNKNOWN = 0.1
"""Where there are too few objects to cluster two halves of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """`agreement`: the share of objects that both halves put into matched clusters, nan where there are too few to tell."""

    clusters: Clusters
    agreement: float


def fit_clusters(vectors: Float[numpy.ndarray, "O D"], *, num_clusters: int, pca_dim: int = 0, seed: int = 0) -> Fitted:
    """K-means of normalize(vectors - mean), after PCA with whitening where `pca_dim` says so. At most as many clusters as objects.

    The same vectors and seed give the same clusters on one machine. Cost: three K-means, O(O K D) an iteration.

    Raises:
        DataError: no vectors.
        MissingExtraError: no FAISS is installed.
    """
    if not len(vectors):
        raise DataError("clusters need at least one object vector, got none")
    space = _space(vectors, pca_dim=pca_dim)
    points = space.points(vectors)
    clusters = replace(space, centroids=_centroids(points, num_clusters=num_clusters, seed=seed))
    sizes = numpy.bincount((points @ clusters.centroids.T).argmax(axis=1), minlength=clusters.num_clusters)
    clusters = replace(clusters, centroids=clusters.centroids[numpy.argsort(-sizes, kind="stable")])
    temperature, agreement = _calibrated(points, num_clusters=clusters.num_clusters, seed=seed)
    return Fitted(clusters=replace(clusters, temperature=temperature), agreement=agreement)


def suggested_clusters(vectors: Float[numpy.ndarray, "O D"], *, photo_of: Int[numpy.ndarray, " O"], seed: int = 0) -> tuple[int, int]:
    """(number of clusters, groups that stand out): three clusters a group that stands out in the graph of the objects' nearest neighbours.

    At least CLUSTERS_MIN, and no more than leave OBJECTS_A_CLUSTER objects a cluster. 0 groups where the graph has no gap, or there are too few objects.
    """
    chosen = numpy.sort(numpy.random.default_rng(seed).permutation(len(vectors))[:GRAPH_OBJECTS_MAX])
    gap = 0
    if len(numpy.unique(photo_of[chosen])) > GRAPH_NEIGHBOURS:
        settings = GroupSettings(num_groups=(2,), num_seeds=1, num_subsamples=0, seed=seed)
        gap = find_groups([ArrayRows(vectors[chosen])], source_of=photo_of[chosen], settings=settings).facts.largest_gap
    most = min(CLUSTERS_MAX, len(vectors) // OBJECTS_A_CLUSTER)
    return max(1, min(most, max(CLUSTERS_MIN, CLUSTERS_A_GROUP * gap))), gap


def _space(vectors: Float[numpy.ndarray, "O D"], *, pca_dim: int) -> Clusters:
    """Clusters without a centroid."""
    if pca_dim:
        found = whitening(torch.from_numpy(vectors), dim=pca_dim)
        mean, projection = found.mean.numpy(), found.projection.numpy()
    else:
        mean, projection = vectors.mean(axis=0, dtype=numpy.float64).astype(numpy.float32), numpy.eye(vectors.shape[1], dtype=numpy.float32)
    return Clusters(mean=mean, projection=projection, centroids=numpy.zeros((0, projection.shape[1]), dtype=numpy.float32), temperature=TEMPERATURE_UNKNOWN)


def _centroids(points: Float[numpy.ndarray, "O d"], *, num_clusters: int, seed: int) -> Float[numpy.ndarray, "K d"]:
    """Unit centroids; each point is one where there are no more points than clusters."""
    if len(points) <= num_clusters:
        return points
    return unit(fit_centres(points, num_clusters=num_clusters, seed=seed).centres)[0]


def _calibrated(points: Float[numpy.ndarray, "O d"], *, num_clusters: int, seed: int) -> tuple[float, float]:
    """(temperature, agreement of the two halves)."""
    order = numpy.random.default_rng(seed).permutation(len(points))
    halves = order[: len(points) // 2], order[len(points) // 2 :]
    if num_clusters < 2 or len(halves[0]) <= num_clusters:
        return TEMPERATURE_UNKNOWN, float("nan")
    one, other = (_centroids(points[numpy.sort(half)], num_clusters=num_clusters, seed=seed) for half in halves)
    match_of = numpy.empty(num_clusters, dtype=numpy.int64)
    rows, columns = linear_sum_assignment(one @ other.T, maximize=True)
    match_of[columns] = rows
    cosines = points @ one.T
    agrees = match_of[(points @ other.T).argmax(axis=1)] == cosines.argmax(axis=1)
    temperature = max(TEMPERATURES, key=lambda value: _log_likelihood(confidences(cosines, temperature=value).max(axis=1), agrees=agrees))
    return float(temperature), float(agrees.mean())


def _log_likelihood(confidence: Float[numpy.ndarray, " O"], *, agrees: Bool[numpy.ndarray, " O"]) -> float:
    """Of the agreements, were each object's chance its confidence."""
    chance = numpy.clip(confidence.astype(numpy.float64), 1e-6, 1 - 1e-6)
    return float(numpy.where(agrees, numpy.log(chance), numpy.log1p(-chance)).sum())

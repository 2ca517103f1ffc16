"""Unlabelled: clusters without ground truth. No score says whether they are right; these say how clear they are, how steady, and how large."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.collection import Collection
from mcdist.evaluate.embed import ENCODERS, MASKS, MEAN_EMBEDDING, PREDICTED, PROPOSALS, PROTOCOLS
from mcdist.evaluate.kmeans import kmeans
from mcdist.evaluate.subject import EvaluationSettings
from mcdist.evaluate.whiten import whiten
from mcdist.records import ClusterScore, Example

HEADLINES = ((PREDICTED, MEAN_EMBEDDING, "trained"), (PROPOSALS, MEAN_EMBEDDING, "trained"))
"""The row to show: the second where the encoder predicts fewer than two objects, as after a short training.

Not the protocol of the scores: it whitens, and whitening the few hundred objects of a small folder leaves noise, in which no two seeds agree.
"""
TRIED_CLUSTERS = (4, 6, 8, 12, 16, 24, 32)
MAX_CLUSTERS = 253
"""A panel's map has a byte a pixel: background, the clusters, void."""
SILHOUETTE_OBJECTS = 2000
"""The silhouette looks at all pairs: of more objects so many are taken, evenly."""
EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Clusters:
    """Every row, and what the headline row made of each object: its cluster 1.. from the largest down; and the objects nearest to each centre."""

    rows: tuple[ClusterScore, ...]
    headline: int
    num_clusters: int
    chosen_by: str
    cluster_of_object: Int[numpy.ndarray, " O"]
    examples: tuple[tuple[Example, ...], ...]


def find_clusters(collected: Collection, *, settings: EvaluationSettings, dataset: str) -> Clusters:
    """Cluster the objects of every mask set, protocol and encoder. `num_clusters` 0: of TRIED_CLUSTERS the number with the best silhouette of the headline row.

    Raises:
        ConfigError: more clusters than MAX_CLUSTERS.
        DataError: no photos, or fewer than two objects, predicted or proposed.
        MissingExtraError: FAISS is not installed.
    """
    if settings.num_clusters > MAX_CLUSTERS:
        raise ConfigError(f"evaluate.num_clusters wants at most {MAX_CLUSTERS} where there is no ground truth, got {settings.num_clusters}")
    points = {
        (masks, protocol, encoder): _points(torch.cat(collected.vectors[masks, protocol, encoder]), dim=settings.pca_dims[protocol])
        for masks in MASKS
        for protocol in PROTOCOLS
        for encoder in ENCODERS
        if collected.vectors[masks, protocol, encoder]
    }
    shown = next((row for row in HEADLINES if len(points.get(row, ())) >= 2), None)
    if shown is None:
        raise DataError(f"evaluation wants at least two objects to cluster, {dataset} gave fewer, predicted or proposed; give more photos")
    chosen_by = "evaluate.num_clusters" if settings.num_clusters else "the best silhouette of " + ", ".join(map(str, TRIED_CLUSTERS))
    num_clusters = settings.num_clusters or choose_number(points[shown])
    rows = tuple(_score(row, points=array, num_clusters=num_clusters, num_seeds=settings.num_seeds) for row, array in points.items())
    quoted = kmeans(points[shown], num_clusters=num_clusters, seed=0)
    largest_first = numpy.argsort(-numpy.bincount(quoted, minlength=num_clusters), kind="stable")
    number = numpy.empty(num_clusters, dtype=numpy.int64)
    number[largest_first] = numpy.arange(1, num_clusters + 1)
    cluster_of_object = number[quoted]
    return Clusters(
        rows=rows,
        headline=list(points).index(shown),
        num_clusters=num_clusters,
        chosen_by=chosen_by,
        cluster_of_object=cluster_of_object,
        examples=_examples(points[shown], clusters=cluster_of_object, places=collected.places[shown[0]], num_clusters=num_clusters),
    )


def choose_number(points: Float[numpy.ndarray, "O D"]) -> int:
    """The tried number of clusters with the best silhouette; fewer than objects."""
    tried = [number for number in TRIED_CLUSTERS if number < len(points)] or [max(1, len(points) - 1)]
    return max(tried, key=lambda number: silhouette(points, clusters=kmeans(points, num_clusters=number, seed=0)))


def silhouette(points: Float[numpy.ndarray, "O D"], *, clusters: Int[numpy.ndarray, " O"]) -> float:
    """Mean over objects of (b - a) / max(a, b), -1..1: a the mean distance to its own cluster, b to the nearest other (Rousseeuw 1987). 0 with one cluster.

    An object alone in its cluster counts 0. Of more than SILHOUETTE_OBJECTS objects so many are taken, evenly. Cost: all pairs.
    """
    taken = numpy.unique(numpy.linspace(0, len(points) - 1, min(len(points), SILHOUETTE_OBJECTS)).round().astype(int))
    vectors = torch.from_numpy(numpy.ascontiguousarray(points[taken], dtype=numpy.float32))
    _, own = numpy.unique(clusters[taken], return_inverse=True)
    sizes = numpy.bincount(own)
    if len(sizes) < 2:
        return 0.0
    member = torch.nn.functional.one_hot(torch.from_numpy(own), len(sizes)).float()
    sums = (torch.cdist(vectors, vectors) @ member).numpy().astype(numpy.float64)
    rows = numpy.arange(len(own))
    inner = sums[rows, own] / numpy.maximum(sizes[own] - 1, 1)
    outer = sums / sizes
    outer[rows, own] = numpy.inf
    nearest = outer.min(axis=1)
    value = (nearest - inner) / numpy.maximum(numpy.maximum(nearest, inner), 1e-12)
    return float(numpy.where(sizes[own] > 1, value, 0.0).mean())


def adjusted_rand(one: Int[numpy.ndarray, " O"], *, other: Int[numpy.ndarray, " O"]) -> float:
    """How far two clusterings pair the same objects: 1 the same, 0 as by chance (Hubert and Arabie 1985)."""
    table = numpy.zeros((one.max() + 1, other.max() + 1))
    numpy.add.at(table, (one, other), 1)
    pairs, rows, columns, all_pairs = (_pairs(count) for count in (table, table.sum(axis=1), table.sum(axis=0), numpy.array([len(one)])))
    chance = rows * columns / max(all_pairs, 1)
    most = (rows + columns) / 2
    return 1.0 if most == chance else float((pairs - chance) / (most - chance))


def _pairs(counts: numpy.ndarray) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _points(vectors: Float[Tensor, "O D"], *, dim: int) -> Float[numpy.ndarray, "O d"]:
    return (whiten(vectors, dim=dim) if dim and len(vectors) else vectors).numpy()


def _score(row: tuple[str, str, str], *, points: numpy.ndarray, num_clusters: int, num_seeds: int) -> ClusterScore:
    found = [kmeans(points, num_clusters=num_clusters, seed=seed) for seed in range(num_seeds)] if len(points) else []
    agreement = [adjusted_rand(found[0], other=other) for other in found[1:]]
    masks, protocol, encoder = row
    return ClusterScore(
        masks=masks,
        protocol=protocol,
        encoder=encoder,
        num_objects=len(points),
        silhouette=tuple(silhouette(points, clusters=clusters) for clusters in found),
        agreement=float(numpy.mean(agreement)) if agreement else 1.0,
        sizes=tuple(sorted((int(size) for size in numpy.bincount(found[0], minlength=num_clusters)), reverse=True)) if found else (),
    )


def _examples(
    points: numpy.ndarray, *, clusters: numpy.ndarray, places: list[tuple[int, tuple[float, float, float, float]]], num_clusters: int
) -> tuple[tuple[Example, ...], ...]:
    """For each cluster the objects nearest to its mean, as places in the data set."""
    listed = []
    for number in range(1, num_clusters + 1):
        members = numpy.flatnonzero(clusters == number)
        offset = points[members] - points[members].mean(axis=0) if len(members) else points[members]
        nearest = members[numpy.argsort((offset**2).sum(axis=1), kind="stable")[:EXAMPLES]]
        listed.append(tuple(Example(sample=places[index][0], box=places[index][1]) for index in nearest.tolist()))
    return tuple(listed)

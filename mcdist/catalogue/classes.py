"""Classes: vectors to the clusters that a person left, and to the classes that their names make."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy
from jaxtyping import Float, Float32, Int

from mcdist.catalogue.clusters import NO_CLUSTER, Clusters, confidences

BACKGROUND_NAME = "background"
"""Class 0. A cluster of this name belongs to it."""

UNNAMED = "unnamed cluster"
"""What classes without a name are called, before the number of their cluster."""

VOID_CLASS_ID = 255
"""What clusters without a name are where they are to be void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Of each vector: its cluster (one that was not split), the class of that, and the confidence of the class; then the likeliest other class and its.

    `second` is the likeliest cluster of that other class. NO_CLUSTER, class -1 and confidence 0 where there is no other class.
    """

    cluster: Int[numpy.ndarray, " N"]
    class_id: Int[numpy.ndarray, " N"]
    confidence: Float[numpy.ndarray, " N"]
    second: Int[numpy.ndarray, " N"]
    second_class_id: Int[numpy.ndarray, " N"]
    second_confidence: Float[numpy.ndarray, " N"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """`names` by class id, the first `num_named` of them (with background) given by a person; `class_of`: the class id of each cluster that was not split."""

    clusters: Clusters
    names: tuple[str, ...]
    num_named: int
    class_of: Mapping[int, int]
    splits: tuple[tuple[int, tuple[int, ...], Float32[numpy.ndarray, "C d"]], ...] = ()
    """(cluster, the clusters that it was split into, their unit centroids), in the order of splitting."""

    def assign(self, vectors: Float[numpy.ndarray, "N D"], *, unnamed_void: bool = False) -> Labelled:
        """Cluster and class of object vectors, as the encoder gave them. With `unnamed_void` clusters without a name have the class VOID_CLASS_ID.

        A vector has the class of its cluster. The confidence of a class is the sum of `probabilities` over its clusters, so that two clusters of one name
        do not make each other unsure; where several clusters of another class are near, that of the second choice can be the larger one.
        """
        points = self.clusters.points(vectors)
        cosines = points @ self.clusters.centroids.T
        cluster = self.divided(cosines.argmax(axis=1), points=points)
        sums = self._class_probabilities(cosines, points=points)
        rows, of_class = numpy.arange(len(points)), numpy.array([self.class_of[leaf] for leaf in self._leaves], dtype=numpy.int64)
        class_id = self.class_table()[cluster]
        others = sums.copy()
        others[rows, class_id] = -1.0
        absent = numpy.bincount(of_class, minlength=len(self.names)) == 0  # background that no cluster is called by
        others[:, absent] = -1.0
        second_class = others.argmax(axis=1)
        there = others[rows, second_class] >= 0
        of_second = numpy.where(of_class[None] == second_class[:, None], self._probabilities(cosines, points=points), -1.0)
        second = numpy.array(self._leaves, dtype=numpy.int64)[of_second.argmax(axis=1)]
        void = self.class_table(unnamed_void=unnamed_void)
        return Labelled(
            cluster=cluster,
            class_id=void[cluster],
            confidence=sums[rows, class_id],
            second=numpy.where(there, second, NO_CLUSTER),
            second_class_id=numpy.where(there, void[second], -1),
            second_confidence=numpy.where(there, others[rows, second_class], numpy.float32(0)),
        )

    def divided(self, cluster: Int[numpy.ndarray, " N"], *, points: Float[numpy.ndarray, "N d"]) -> Int[numpy.ndarray, " N"]:
        """Clusters before any split to those after all of them. `points`: those of `Clusters.points`; not read without splits."""
        cluster = cluster.astype(numpy.int64)
        for parent, into, centroids in self.splits:
            rows = numpy.flatnonzero(cluster == parent)
            cluster[rows] = numpy.array(into)[(points[rows] @ centroids.T).argmax(axis=1)]
        return cluster

    def class_table(self, *, unnamed_void: bool = False) -> Int[numpy.ndarray, " clusters"]:
        """Class id by cluster number; -1 for clusters that were split."""
        table = numpy.full(max(self.class_of, default=-1) + 1, -1, dtype=numpy.int64)
        for cluster, class_id in self.class_of.items():
            table[cluster] = VOID_CLASS_ID if unnamed_void and class_id >= self.num_named else class_id
        return table

    @property
    def _leaves(self) -> tuple[int, ...]:
        return tuple(sorted(self.class_of))

    def _probabilities(self, cosines: Float[numpy.ndarray, "N K"], *, points: Float[numpy.ndarray, "N d"]) -> Float[numpy.ndarray, "N leaves"]:
        """Of each cluster that was not split, ascending; rows sum to 1. A split shares its cluster's among the parts, by the same softmax."""
        temperature = self.clusters.temperature
        shares = dict(enumerate(confidences(cosines, temperature=temperature).T))
        for parent, into, centroids in self.splits:
            whole = shares.pop(parent)
            shares |= dict(zip(into, whole * confidences(points @ centroids.T, temperature=temperature).T, strict=True))
        return numpy.stack([shares[leaf] for leaf in self._leaves], axis=1)

    def _class_probabilities(self, cosines: Float[numpy.ndarray, "N K"], *, points: Float[numpy.ndarray, "N d"]) -> Float[numpy.ndarray, "N classes"]:
        member = numpy.zeros((len(self._leaves), len(self.names)), dtype=numpy.float32)
        member[numpy.arange(len(self._leaves)), [self.class_of[leaf] for leaf in self._leaves]] = 1
        return self._probabilities(cosines, points=points) @ member

"""Clusters: from an object's vector to its cluster, how sure that is, and the second choice. A few numbers, no network and no data set."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float, Int

from mcdist.errors import DataError
from mcdist.groups.graph.rows import unit

NO_CLUSTER = -1
"""The second choice where there is one cluster only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """Of each vector: its cluster and the confidence of that, then the second choice and its. Without a second: NO_CLUSTER and 0."""

    cluster: Int[numpy.ndarray, " O"]
    confidence: Float[numpy.ndarray, " O"]
    second: Int[numpy.ndarray, " O"]
    second_confidence: Float[numpy.ndarray, " O"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """K clusters as directions: a vector belongs to the one whose centroid has the largest cosine with it.

    A point is normalize((vector - mean) @ projection); `centroids` are unit points. The projection is the identity, or that of PCA with whitening.

    The confidence of cluster k is softmax_k(cos(point, centroid_k) / temperature). The temperature was fitted so that it answers one question: were other
    photos of the same kind clustered, how likely would this object be together with the same others? See `mcdist.catalogue.fit`.
    """

    mean: Float[numpy.ndarray, " D"]
    projection: Float[numpy.ndarray, "D d"]
    centroids: Float[numpy.ndarray, "K d"]
    temperature: float

    @property
    def num_clusters(self) -> int:
        """K."""
        return len(self.centroids)

    @property
    def num_dims(self) -> int:
        """D, the length of the vectors."""
        return len(self.mean)

    def points(self, vectors: Float[numpy.ndarray, "O D"]) -> Float[numpy.ndarray, "O d"]:
        """The vectors where clusters are compared: unit points. A vector equal to the mean gives zero, which is as far from all clusters.

        Raises:
            DataError: the vectors are of another length.
        """
        if vectors.shape[1] != self.num_dims:
            raise DataError(
                f"the clusters are of vectors of {self.num_dims} numbers, got vectors of {vectors.shape[1]}; use the encoder that they were made with"
            )
        return unit((vectors.astype(numpy.float32) - self.mean) @ self.projection)[0]

    def probabilities(self, vectors: Float[numpy.ndarray, "O D"]) -> Float[numpy.ndarray, "O K"]:
        """The confidence of every cluster; each row sums to 1. That of a class is the sum over its clusters."""
        return confidences(self.points(vectors) @ self.centroids.T, temperature=self.temperature)

    def assign(self, vectors: Float[numpy.ndarray, "O D"]) -> Assigned:
        """The two likeliest clusters of each vector. Of equal ones the lower number is first."""
        probabilities = self.probabilities(vectors)
        rows, order = numpy.arange(len(vectors)), numpy.argsort(-probabilities, axis=1, kind="stable")
        first = order[:, 0]
        if self.num_clusters == 1:
            second, second_confidence = numpy.full_like(first, NO_CLUSTER), numpy.zeros(len(vectors), dtype=numpy.float32)
        else:
            second, second_confidence = order[:, 1], probabilities[rows, order[:, 1]]
        return Assigned(
            cluster=first.astype(numpy.int32),
            confidence=probabilities[rows, first],
            second=second.astype(numpy.int32),
            second_confidence=second_confidence,
        )


def confidences(cosines: Float[numpy.ndarray, "O K"], *, temperature: float) -> Float[numpy.ndarray, "O K"]:
    """softmax(cosines / temperature) over the clusters."""
    scores = cosines.astype(numpy.float32) / numpy.float32(temperature)
    powers = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)

"""Moments: mean and covariance of vectors that come in pieces, and the linear maps made of them. Nothing here keeps a vector."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float, Float32

RELATIVE_VARIANCE_MIN = 1e-10
"""Directions with less than this share of the largest variance are rounding noise."""


class Moments:
    """Count, mean and scatter (the sum of outer products about the mean, or with joint=False only its diagonal) of the vectors added so far.

    Pieces are merged as Chan, Golub and LeVeque (1983) do: each is centred on its own mean, so nothing large is subtracted. The products of a piece are
    float32, their sum over pieces float64.
    """

    def __init__(self, num_dims: int, *, joint: bool) -> None:
        """No vectors yet."""
        self.count = 0
        self.mean = numpy.zeros(num_dims)
        self.scatter = numpy.zeros((num_dims, num_dims) if joint else num_dims)

    def add(self, vectors: Float[numpy.ndarray, "N D"]) -> None:
        """Take the vectors of one piece in."""
        if not len(vectors):
            return
        mean = vectors.mean(axis=0, dtype=numpy.float64)
        centred = vectors - mean.astype(numpy.float32)
        own = centred.T @ centred if self.scatter.ndim == 2 else numpy.einsum("nd,nd->d", centred, centred)
        apart = mean - self.mean
        between = numpy.outer(apart, apart) if self.scatter.ndim == 2 else apart * apart
        total = self.count + len(vectors)
        self.scatter += own + between * (self.count * len(vectors) / total)
        self.mean += apart * (len(vectors) / total)
        self.count = total

    @property
    def std(self) -> Float[numpy.ndarray, " D"]:
        """Standard deviation of each dimension (population); 1 where a dimension does not vary."""
        variance = (self.scatter.diagonal() if self.scatter.ndim == 2 else self.scatter) / max(self.count, 1)
        return numpy.where(variance > 0, numpy.sqrt(numpy.maximum(variance, 0)), 1.0)


@dataclass(frozen=True, slots=True)
class LinearMap:
    """x -> (x - mean) / std, then onto `directions [D, d]` where there are any, which hold `explained_percent` of the variance."""

    mean: Float32[numpy.ndarray, " D"]
    std: Float32[numpy.ndarray, " D"]
    directions: Float32[numpy.ndarray, "D d"] | None = None
    explained_percent: float = 100.0

    @property
    def num_dims(self) -> int:
        """Of what comes out."""
        return len(self.mean) if self.directions is None else self.directions.shape[1]

    def apply(self, vectors: Float[numpy.ndarray, "N D"]) -> Float32[numpy.ndarray, "N d"]:
        """The vectors mapped, in float32."""
        scaled = (vectors.astype(numpy.float32, copy=False) - self.mean) / self.std
        return scaled if self.directions is None else scaled @ self.directions


def standardiser(moments: Moments) -> LinearMap:
    """Each dimension to mean 0 and variance 1; one that does not vary becomes 0."""
    return LinearMap(moments.mean.astype(numpy.float32), moments.std.astype(numpy.float32))


def principal(moments: Moments, *, dim: int) -> LinearMap:
    """Standardise each dimension, then the `dim` principal directions, not whitened; the largest coefficient of each is positive.

    d = min(dim, D, count - 1, directions that vary at all), at least 1.
    """
    correlation = moments.scatter / max(moments.count, 1) / numpy.outer(moments.std, moments.std)
    variance, directions = numpy.linalg.eigh(correlation)
    num_varying = int((variance > RELATIVE_VARIANCE_MIN * max(variance[-1], 0)).sum()) if variance[-1] > 0 else 0
    num_kept = max(1, min(dim, len(variance), moments.count - 1, num_varying))
    kept = directions[:, ::-1][:, :num_kept]
    largest = numpy.take_along_axis(kept, numpy.abs(kept).argmax(axis=0)[None], axis=0)
    kept = kept * numpy.where(largest < 0, -1.0, 1.0)
    explained = 100 * variance[::-1][:num_kept].sum() / variance.sum() if num_varying else 100.0
    directions = numpy.ascontiguousarray(kept, dtype=numpy.float32)
    return LinearMap(moments.mean.astype(numpy.float32), moments.std.astype(numpy.float32), directions, explained_percent=float(explained))

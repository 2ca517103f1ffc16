"""Centroid probe: clusters learned by gradient descent, one unit centroid each. The cluster probe of STEGO (Hamilton et al., ICLR 2022)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import normalize


def centroid_loss(vectors: Float32[Tensor, "N D"], *, centroids: Float32[Tensor, "K D"]) -> Float32[Tensor, ""]:
    """Minus the mean, over vectors, of the cosine with the nearest centroid."""
    return -(normalize(vectors, dim=1) @ normalize(centroids, dim=1).T).amax(dim=1).mean()


@dataclass(frozen=True, slots=True)
class Centroids:
    """`unit [K, D]`: of length 1."""

    unit: Float32[Tensor, "K D"]

    def logits(self, vectors: Float32[Tensor, "N D"]) -> Float32[Tensor, "N K"]:
        """The length of each vector times its cosine with each centroid: linear in the vector, so that upsampling these is the same as upsampling the
        vectors, and the largest is the nearest centroid."""
        return vectors @ self.unit.T


class CentroidProbe:
    """`step` by step: K centroids that start as N(0, 1) and follow the gradient of `centroid_loss` with Adam."""

    def __init__(self, *, num_dims: int, num_clusters: int, lr: float, seed: int) -> None:
        """The same seed and steps give the same centroids on one machine."""
        generator = torch.Generator().manual_seed(seed)
        self._centroids = torch.randn(num_clusters, num_dims, generator=generator).requires_grad_()
        self._optimizer = torch.optim.Adam([self._centroids], lr=lr)

    def step(self, vectors: Float32[Tensor, "N D"]) -> float:
        """One step on one batch of vectors; returns the loss before it."""
        self._optimizer.zero_grad()
        loss = centroid_loss(vectors, centroids=self._centroids)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    @property
    def centroids(self) -> Centroids:
        """Those of now."""
        return Centroids(normalize(self._centroids.detach(), dim=1))

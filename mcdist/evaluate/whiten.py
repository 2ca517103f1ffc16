"""Whitening: object vectors on their principal directions, each of variance 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

RELATIVE_VARIANCE_MIN = 1e-10
"""Directions with less than this share of the largest variance are rounding noise; whitening would blow them up."""


def whiten(vectors: Float[Tensor, "O D"], *, dim: int) -> Float[Tensor, "O d"]:
    """PCA with whitening: the first d principal components of the centred vectors, each divided by its standard deviation.

    d = min(dim, D, O - 1, directions that vary at all), at least 1; a set without any variance gives zeros. Float64 inside; the eigenvectors
    are those of the smaller of covariance and Gram matrix, so the cost is O(O D min(O, D)).
    """
    centred = vectors.double() - vectors.double().mean(dim=0)
    num_objects, num_dims = centred.shape
    if num_objects > num_dims:
        variance, directions = torch.linalg.eigh(centred.T @ centred)
        scores = centred @ directions
    else:
        variance, scores = torch.linalg.eigh(centred @ centred.T)
        scores = scores * variance.clamp(min=0).sqrt()
    largest_first = variance.flip(0)
    num_varying = int((largest_first > RELATIVE_VARIANCE_MIN * largest_first[0]).sum()) if largest_first[0] > 0 else 0
    num_kept = max(1, min(dim, num_dims, num_objects - 1, num_varying))
    scores = scores.flip(1)[:, :num_kept]
    std = (scores.square().sum(dim=0) / max(num_objects - 1, 1)).sqrt()
    return torch.where(std > 0, scores / std.clamp(min=1e-300), 0.0).float()


@dataclass(frozen=True, slots=True)
class Whitening:
    """`(vectors - mean) @ projection` whitens further vectors the way that the set it was fitted to was."""

    mean: Float[Tensor, " D"]
    projection: Float[Tensor, "D d"]


def whitening(vectors: Float[Tensor, "O D"], *, dim: int) -> Whitening:
    """What `whiten` does to a set, to be done to vectors that are not in it; d as there. Float64 inside."""
    mean = vectors.double().mean(dim=0)
    centred = vectors.double() - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred)
    largest_first = variance.flip(0)
    num_varying = int((largest_first > RELATIVE_VARIANCE_MIN * largest_first[0]).sum()) if largest_first[0] > 0 else 0
    num_kept = max(1, min(dim, vectors.shape[1], len(vectors) - 1, num_varying))
    std = (largest_first[:num_kept].clamp(min=0) / max(len(vectors) - 1, 1)).sqrt()
    projection = torch.where(std > 0, directions.flip(1)[:, :num_kept] / std.clamp(min=1e-300), 0.0)
    return Whitening(mean=mean.float(), projection=projection.float())

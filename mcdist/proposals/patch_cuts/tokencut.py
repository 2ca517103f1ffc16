"""TokenCut and MaskCut: normalised cuts of a graph of patches. Wang et al., CVPR 2022 (arXiv:2202.11539); CVPR 2023 (arXiv:2301.11320)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mcdist.proposals.patch_cuts.eigen import cut_vectors
from mcdist.proposals.patch_cuts.patch_method import Cut, patch_method
from mcdist.proposals.patch_cuts.patches import affinity, is_background_side, part_with, seed_of

EPSILON = 1e-5
"""Weight of an edge between unlike patches: the graph stays connected."""

MIN_SHARE = 0.01
"""A further object with a smaller share of the photo than this ends MaskCut."""


def tokencut_masks(features_BChw: Float[Tensor, "B C h w"], *, threshold: float = 0.2, max_objects: int = 1) -> Bool[Tensor, "B n h w"]:
    """Each photo's objects as patch masks; behind the last object masks are empty.

    Edges weigh 1 where cos(f_p, f_q) > threshold, else 1e-5. The second eigenvector, cut at its mean, has two sides: the object's is the one with the largest
    absolute value, unless three of the photo's corners are on it; of that side the component connected with the largest value is the object. With
    `max_objects` > 1 (MaskCut) the patches found are taken out of the graph and it is cut again.

    Cost: one batched eigen-problem of `h w` nodes an object.
    """
    batch, _, height, width = features_BChw.shape
    cosine_BNN = affinity(features_BChw.flatten(2))
    masks = torch.zeros(batch, max_objects, height, width, dtype=torch.bool, device=features_BChw.device)
    going = torch.ones(batch, dtype=torch.bool)
    for number in range(max_objects):
        found_BN = masks.any(dim=1).flatten(1)
        vector_BN = cut_vectors(_edges(cosine_BNN, found_BN, threshold=threshold)).vectors[:, :, 0]
        for b in range(batch):
            if going[b]:
                mask = _object_side(vector_BN[b].masked_fill(found_BN[b], 0), free_hw=~found_BN[b].view(height, width))
                going[b] = number == 0 or float(mask.float().mean()) >= MIN_SHARE
                masks[b, number] = mask & going[b].to(mask.device)
    return masks


@patch_method("tokencut", version="1")
def make(*, max_objects: int = 1, threshold: float = 0.2) -> Cut:
    """TokenCut as a method; MaskCut with `max_objects=3` and `threshold=0.15`. The other options: `mcdist.proposals.patch_cuts.patch_method`."""
    return lambda features, photos: tokencut_masks(features.values, threshold=threshold, max_objects=max_objects)


def _edges(cosine_BNN: Tensor, found_BN: Tensor, *, threshold: float) -> Tensor:
    alike = (cosine_BNN > threshold) & ~found_BN[:, :, None] & ~found_BN[:, None, :]
    return torch.where(alike, 1.0, EPSILON).to(cosine_BNN.dtype)


def _object_side(vector_N: Tensor, *, free_hw: Tensor) -> Tensor:
    """The side of the cut that is the object, as its component around the largest value. The eigenvector's sign means nothing."""
    height, width = free_hw.shape
    free_N = free_hw.flatten()
    centred_N = (vector_N - vector_N[free_N].mean()) if bool(free_N.any()) else vector_N
    if float(centred_N[centred_N.abs().argmax()]) < 0:
        centred_N = -centred_N
    if is_background_side((centred_N > 0).view(height, width)):
        centred_N = -centred_N
    centred_N = centred_N.masked_fill(~free_N, float("-inf"))
    return part_with((centred_N > 0).view(height, width), seed=seed_of(centred_N, width=width))

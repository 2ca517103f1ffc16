"""LOST: an object's patches look like few others. Simeoni et al., BMVC 2021 (arXiv:2109.14279)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mcdist.proposals.patch_cuts.patch_method import Cut, patch_method
from mcdist.proposals.patch_cuts.patches import part_with

EXPANSION = 100
"""Of the patches, the `EXPANSION` with the lowest degree may help to describe the object (the paper's k)."""


def lost_masks(features_BChw: Float[Tensor, "B C h w"], *, expansion: int = EXPANSION, max_objects: int = 1) -> Bool[Tensor, "B n h w"]:
    """Each photo's objects as patch masks, the most certain first; a photo with fewer than `max_objects` has empty masks after them.

    A[p, q] = f_p . f_q of the features as they are (not normalised). The seed is the patch with the fewest q of A[p, q] >= 0; the set S
    adds the `expansion` patches of lowest degree that are positively correlated with it. The object is the connected component around the
    seed of the patches whose sum of A over S is positive. A further object starts at the best seed outside of those found.
    """
    batch, channels, height, width = features_BChw.shape
    features_BCN = features_BChw.flatten(2)
    correlation_BNN = features_BCN.mT @ features_BCN
    degree_BN = (correlation_BNN >= 0).sum(dim=2)
    return torch.stack([_objects(correlation_BNN[b], degree_BN[b], height, width, expansion, max_objects) for b in range(batch)])


@patch_method("lost", version="1")
def make(*, max_objects: int = 1, expansion: int = EXPANSION) -> Cut:
    """LOST as a method. The other options: `mcdist.proposals.patch_cuts.patch_method`."""
    return lambda features, photos: lost_masks(features.values, expansion=expansion, max_objects=max_objects)


def _objects(correlation_NN: Tensor, degree_N: Tensor, height: int, width: int, expansion: int, max_objects: int) -> Tensor:
    masks = torch.zeros(max_objects, height, width, dtype=torch.bool, device=degree_N.device)
    order = degree_N.argsort(stable=True)
    for number in range(max_objects):
        free = ~masks.any(dim=0).flatten()
        candidates = order[free[order]]
        if not len(candidates):
            break
        seed = int(candidates[0])
        similar = candidates[:expansion]
        similar = similar[correlation_NN[seed, similar] > 0]
        votes_N = correlation_NN[:, similar].sum(dim=1)
        mask = part_with((votes_N > 0).view(height, width) & free.view(height, width), seed=divmod(seed, width))
        masks[number] = mask
        if not bool(mask.any()):
            break
    return masks

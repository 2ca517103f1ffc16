"""Deep spectral: eigenvectors of a Laplacian of features and colours. Melas-Kyriazi et al., CVPR 2022 (arXiv:2205.07839)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mcdist.proposals.patch_cuts.eigen import cut_vectors
from mcdist.proposals.patch_cuts.patch_method import Cut, patch_method
from mcdist.proposals.patch_cuts.patches import affinity, is_background_side, part_with, seed_of

COLOUR_NEIGHBOURS = 20
"""Each patch has an edge of colour to this many others that are nearest in colour and place."""

FLOOR = 1e-6
"""Least weight of an edge: no patch is without neighbours."""


def spectral_masks(
    features_BChw: Float[Tensor, "B C h w"], *, colours_B3hw: Float[Tensor, "B 3 h w"] | None = None, colour_weight: float = 0.0, max_objects: int = 1
) -> Bool[Tensor, "B n h w"]:
    """Each photo's objects as patch masks; behind the last object masks are empty.

    W = max(cos(f_p, f_q), 0) + colour_weight x (mutual colour neighbours). Object i is where the i-th non-trivial eigenvector is positive, its sign
    chosen so that the smaller side is the object, unless three corners are on it; of it the connected component around the largest value, without what
    earlier objects contain.

    Args:
        features_BChw: float32, any scale.
        colours_B3hw: mean colour of each patch in 0..1; required unless `colour_weight` is 0.
        colour_weight: the paper takes 10 for matting and 0 for finding objects.
        max_objects: eigenvectors to look at.

    Raises:
        ValueError: a colour weight without colours.
    """
    batch, _, height, width = features_BChw.shape
    weights_BNN = affinity(features_BChw.flatten(2)).clamp_min(0) + FLOOR
    if colour_weight:
        if colours_B3hw is None:
            raise ValueError("colour_weight needs colours_B3hw, the patches' colours, got None")
        weights_BNN = weights_BNN + colour_weight * colour_affinity(colours_B3hw)
    vectors_BNk = cut_vectors(weights_BNN, num_vectors=max_objects).vectors
    masks = torch.zeros(batch, max_objects, height, width, dtype=torch.bool, device=features_BChw.device)
    for b in range(batch):
        for number in range(max_objects):
            mask = _object_side(vectors_BNk[b, :, number].view(height, width)) & ~masks[b].any(dim=0)
            masks[b, number] = mask
    return masks


def colour_affinity(colours_B3hw: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B N N"]:
    """1 between each patch and its nearest in (colour, place), made symmetric by the mean of both directions; 0 elsewhere. Place counts as much as colour."""
    batch, _, height, width = colours_B3hw.shape
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    place = torch.stack([rows, columns]).to(colours_B3hw).expand(batch, 2, height, width)
    points_BN5 = torch.cat([colours_B3hw, place], dim=1).flatten(2).mT.contiguous()
    near = torch.cdist(points_BN5, points_BN5).topk(min(COLOUR_NEIGHBOURS + 1, height * width), dim=2, largest=False).indices
    chosen_BNN = torch.zeros(batch, height * width, height * width, dtype=colours_B3hw.dtype, device=colours_B3hw.device).scatter_(2, near, 1.0)
    return (chosen_BNN + chosen_BNN.mT) / 2


def patch_colours(photos_B3HW: UInt8[Tensor, "B 3 H W"], *, like: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 h w"]:
    """The mean colour of each patch, 0..1."""
    return F.adaptive_avg_pool2d(photos_B3HW.float() / 255, (like.shape[2], like.shape[3]))


@patch_method("deep_spectral", version="1")
def make(*, max_objects: int = 1, colour_weight: float = 0.0) -> Cut:
    """Deep spectral segmentation as a method. The other options: `mcdist.proposals.patch_cuts.patch_method`."""
    return lambda features, photos: spectral_masks(
        features.values, colours_B3hw=patch_colours(photos, like=features.values), colour_weight=colour_weight, max_objects=max_objects
    )


def _object_side(vector_hw: Tensor) -> Tensor:
    if float((vector_hw > 0).float().mean()) > 0.5:
        vector_hw = -vector_hw
    if is_background_side(vector_hw > 0):
        vector_hw = -vector_hw
    return part_with(vector_hw > 0, seed=seed_of(vector_hw.flatten(), width=vector_hw.shape[1]))

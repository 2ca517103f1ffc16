"""FOUND-style: find the background instead of the object. After Simeoni et al., CVPR 2023 (arXiv:2212.07834), its first stage without the trained head."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mcdist.proposals.patch_cuts.patch_method import Cut, patch_method
from mcdist.proposals.patch_cuts.patches import affinity


def found_masks(
    features_BChw: Float[Tensor, "B C h w"], *, attention_Bhw: Float[Tensor, "B h w"] | None = None, threshold: float = 0.3
) -> Bool[Tensor, "B 1 h w"]:
    """Foreground = the patches unlike the background seed: cos(f_p, f_seed) < threshold.

    The seed is the patch that the network attends to least; where the network has no attention, the patch most like all others. One mask a photo, of any
    number of objects and components.
    """
    batch, _, height, width = features_BChw.shape
    cosine_BNN = affinity(features_BChw.flatten(2))
    seed_B = cosine_BNN.mean(dim=2).argmax(dim=1) if attention_Bhw is None else attention_Bhw.flatten(1).argmin(dim=1)
    likeness_BN = cosine_BNN[torch.arange(batch, device=seed_B.device), seed_B]
    return (likeness_BN < threshold).view(batch, 1, height, width)


@patch_method("found", version="1")
def make(*, threshold: float = 0.3) -> Cut:
    """The FOUND-style background search as a method. The other options: `mcdist.proposals.patch_cuts.patch_method`."""
    return lambda features, photos: found_masks(features.values, attention_Bhw=features.attention, threshold=threshold)

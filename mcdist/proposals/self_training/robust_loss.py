"""A loss for masks that are often wrong: what contradicts a sure prediction counts little."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def robust_loss(logits_BHW: Float[Tensor, "B H W"], masks_BHW: Int[Tensor, "B H W"], *, q: float, balance: float) -> Float[Tensor, ""]:
    """Generalised cross-entropy: the mean over known pixels of w (1 - p^q) / q, p the probability of what the mask says.

    Between cross-entropy (q to 0) and absolute error (q = 1): its gradient is cross-entropy's times p^q, so a pixel whose label the network is sure
    is wrong hardly pulls (Zhang and Sabuncu 2018, arXiv:1805.07836).

    Args:
        logits_BHW: of an object being there.
        masks_BHW: >= 1 object, 0 background, -1 takes no part.
        q: 0 < q <= 1.
        balance: 0 to 1: w is (the share of the other class)^balance, scaled to a mean of 1. 0 keeps the area of the masks, 1 weighs both classes the
            same and so makes objects larger than they are.

    Returns:
        0-d; 0 without known pixels, or without one of the two classes.
    """
    positive_BHW, known_BHW = masks_BHW > 0, masks_BHW >= 0
    num_known = known_BHW.sum().clamp_min(1)
    share = (positive_BHW.sum() / num_known).to(logits_BHW.dtype)
    log_p_BHW = F.logsigmoid(torch.where(positive_BHW, logits_BHW, -logits_BHW))
    weight_BHW = torch.where(positive_BHW, 1 - share, share) ** balance * known_BHW
    both = (share > 0) & (share < 1)
    return (weight_BHW * -torch.expm1(q * log_p_BHW) / q).sum() / weight_BHW.sum().clamp_min(1e-6) * both

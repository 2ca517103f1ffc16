"""Inference: an encoder that is only used, never trained again, made faster in place. The same features up to rounding."""

import torch

from mcdist.model.backbones.fold import fold_norms
from mcdist.model.backbones.interleave import interleave
from mcdist.model.encoder import Encoder


def quicken(encoder: Encoder, *, size_px: int) -> Encoder:
    """Fold the backbone's norms into its convolutions and interleave its dilated blocks, in place; it is in evaluation mode from then on.

    `size_px`: of an image that the backbone can take. Its parameters are other ones afterwards: nothing can be loaded into it or saved from it.
    """
    encoder.eval().requires_grad_(False)
    device = next(encoder.parameters()).device
    with torch.no_grad():
        fold_norms(encoder.backbone, image=torch.zeros((1, 3, size_px, size_px), device=device))
    interleave(encoder.backbone)
    return encoder

"""Inference: a network that is only used, never trained again, made faster in place. The same features up to rounding."""

import torch

from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fold import fold_norms
from mcdist.model.backbones.interleave import interleave
from mcdist.model.encoder import Encoder


def quicken(encoder: Encoder, *, size_px: int) -> Encoder:
    """`quicken_backbone` of an encoder, which is in evaluation mode from then on. Nothing can be loaded into it or saved from it afterwards."""
    encoder.eval().requires_grad_(False)
    quicken_backbone(encoder.backbone, size_px=size_px)
    return encoder


def quicken_backbone(backbone: Backbone, *, size_px: int) -> Backbone:
    """Fold a backbone's norms into its convolutions and interleave its dilated blocks, in place; it is in evaluation mode from then on.

    `size_px`: of an image that it can take. Its parameters are other ones afterwards: nothing can be loaded into it or saved from it, and a digest of them
    must be taken before.
    """
    backbone.eval().requires_grad_(False)
    device = next(backbone.parameters()).device
    with torch.no_grad():
        fold_norms(backbone, image=torch.zeros((1, 3, size_px, size_px), device=device))
    interleave(backbone)
    return backbone

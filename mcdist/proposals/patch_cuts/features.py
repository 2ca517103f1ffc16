"""Patch features of a pretrained backbone: any that can be trained, our own CNNs and the ViTs of timm.

Of a ViT these are the keys of its last attention, which separate objects better than its output does (LOST, TokenCut), or its output tokens.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from mcdist.choices import PatchFeature, require_choice
from mcdist.data.views.normalise import normalise
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.registry import BACKBONES, make_backbone
from mcdist.model.backbones.timm_names import PREFIX
from mcdist.model.backbones.vit import ViT
from mcdist.model.backbones.vit_keys import last_attention


@dataclass(frozen=True, slots=True)
class PatchFeatures:
    """`values [B, C, h, w]`, not normalised, and how much each patch is attended to (mean over heads), where the network has a class token."""

    values: Float[Tensor, "B C h w"]
    attention: Float[Tensor, "B h w"] | None = None


@runtime_checkable
class Extractor(Protocol):
    """photos, 8-bit, sides multiples of `stride` -> PatchFeatures of `side / stride` patches."""

    stride: int

    def __call__(self, photos: UInt8[Tensor, "B 3 H W"]) -> PatchFeatures:
        """Normalise the photos and run the network on them, without gradient."""


class BackboneFeatures:
    """The last block of a CNN, less its mean over the photo: features of a convolution have a large common part, which hides likeness."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.stride = backbone, backbone.stride

    @torch.inference_mode()
    def __call__(self, photos: UInt8[Tensor, "B 3 H W"]) -> PatchFeatures:
        """`[B, C, H / stride, W / stride]`, no attention."""
        values = self.backbone(_normalised(photos, backbone=self.backbone))
        return PatchFeatures(values - values.mean(dim=(2, 3), keepdim=True))


class ViTFeatures:
    """The keys or the output tokens of a ViT."""

    def __init__(self, backbone: ViT, *, feature: PatchFeature) -> None:
        self.backbone, self.stride, self.feature = backbone, backbone.stride, feature

    @torch.inference_mode()
    def __call__(self, photos: UInt8[Tensor, "B 3 H W"]) -> PatchFeatures:
        """`[B, C, H / stride, W / stride]` and the class token's attention, where there is one."""
        last = last_attention(self.backbone, image=_normalised(photos, backbone=self.backbone))
        values = last.tokens if self.feature == "tokens" else last.keys
        return PatchFeatures(values.float(), None if last.attention is None else last.attention.float())


def make_extractor(backbone: str, *, weights: str, feature: PatchFeature = "keys", device: torch.device) -> Extractor:
    """The extractor named `backbone`: one of ours (BACKBONES), or a network of timm, with or without timm/ before it.

    Args:
        backbone: the network.
        weights: a file (.pth or .safetensors; DINO's own files fit timm's `vit_*`), "hub" (timm fetches its weights), "imagenet" (packaged, for
            efficientnet_lite0: **supervised** weights) or "none" (random: for tests).
        feature: "keys" or "tokens" of a ViT; other networks have their last block only.
        device: where the network runs.

    Raises:
        ConfigError: no such network, weights that do not fit, a network without patches, or an unknown feature.
        MissingExtraError: a ViT without timm.
        MachineError: "hub" and it cannot be reached.
    """
    require_choice("feature", feature, choices=PatchFeature)
    ours = backbone in BACKBONES or backbone.startswith(PREFIX)
    network = make_backbone(backbone if ours else PREFIX + backbone, weights=weights).eval().to(device)
    return ViTFeatures(network, feature=feature) if isinstance(network, ViT) else BackboneFeatures(network)


def resize_to_patches(photo: UInt8[Tensor, "3 H W"], *, long_side_px: int, stride: int) -> UInt8[Tensor, "3 h w"]:
    """The photo with its long side near `long_side_px` and both sides multiples of `stride`, at least two patches each; antialiased."""
    scale = long_side_px / max(photo.shape[1:])
    size = [max(2, round(side * scale / stride)) * stride for side in photo.shape[1:]]
    resized = F.interpolate(photo[None].float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _normalised(photos: UInt8[Tensor, "B 3 H W"], *, backbone: Backbone) -> Float[Tensor, "B 3 H W"]:
    device = next(backbone.parameters()).device
    return normalise(photos.to(device), mean=backbone.mean, std=backbone.std)

"""Patch features of a pretrained network: any ViT of timm, or one of our own backbones. timm's only home.

Of a ViT come the keys of its last attention, which tell objects apart better than its output does (LOST, TokenCut), read by a hook on that layer's input, so
that no network has to be changed; or its output tokens. Class and register tokens are left out; position embeddings are interpolated to the photo's size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mcdist.data.views.normalise import normalise
from mcdist.errors import ConfigError, MachineError, MissingExtraError
from mcdist.model.backbone import BACKBONES, STRIDE, Backbone, make_backbone
from mcdist.model.pretrained import load_weights


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
        """Normalises the photos itself; no gradient."""


class BackboneFeatures:
    """The last stage of one of our own backbones, less its mean over the photo: a convolution's features all have a large common part, which hides likeness."""

    stride = STRIDE

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @torch.inference_mode()
    def __call__(self, photos: UInt8[Tensor, "B 3 H W"]) -> PatchFeatures:
        """`[B, C, H/8, W/8]`, no attention."""
        values = self.backbone(normalise(photos.to(next(self.backbone.parameters()).device)))
        return PatchFeatures(values - values.mean(dim=(2, 3), keepdim=True))


class ViTFeatures:
    """A ViT of timm, photos normalised as its weights were trained."""

    def __init__(self, network: Any, *, feature: str) -> None:
        self.network, self.feature = network, feature
        self.stride = int(network.patch_embed.patch_size[0])
        self.num_prefix_tokens = int(network.num_prefix_tokens)
        statistics = network.pretrained_cfg
        self.mean, self.std = (torch.tensor(statistics[name]).view(3, 1, 1) for name in ("mean", "std"))

    @torch.inference_mode()
    def __call__(self, photos: UInt8[Tensor, "B 3 H W"]) -> PatchFeatures:
        """`[B, C, H/patch, W/patch]` and the class token's attention, where there is one."""
        device = next(self.network.parameters()).device
        images = (photos.to(device).float() / 255 - self.mean.to(device)) / self.std.to(device)
        last = self.network.blocks[-1].attn
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            tokens = self.network.forward_features(images)
        finally:
            hook.remove()
        query_BHND, key_BHND = _query_and_key(last, seen[0])
        attention_BN = None
        if self.num_prefix_tokens:
            logits_BHN = (query_BHND[:, :, :1] @ key_BHND.mT)[:, :, 0] * key_BHND.shape[-1] ** -0.5
            attention_BN = logits_BHN.softmax(dim=-1).mean(dim=1)[:, self.num_prefix_tokens :]
        values_BNC = tokens if self.feature == "tokens" else key_BHND.transpose(1, 2).flatten(2)
        values_BNC = values_BNC[:, self.num_prefix_tokens :]
        grid = (photos.shape[2] // self.stride, photos.shape[3] // self.stride)
        return PatchFeatures(values_BNC.mT.unflatten(2, grid).float(), None if attention_BN is None else attention_BN.unflatten(1, grid).float())


def make_extractor(backbone: str, *, weights: str, feature: str = "keys", device: torch.device) -> Extractor:
    """The extractor named `backbone`: one of ours (resnet18, resnet50, efficientnet_lite0) or a ViT's name in timm (vit_small_patch16_224, ...).

    Args:
        backbone: the network.
        weights: a file (.pth or .safetensors; DINO's own files fit timm's `vit_*`), "hub" (timm fetches its weights), "imagenet" (packaged, for
            efficientnet_lite0: **supervised** weights) or "none" (random: for tests).
        feature: "keys" or "tokens" of a ViT; ours have their last stage only.
        device: where the network runs.

    Raises:
        ConfigError: no such network, weights that do not fit, or a network without patches.
        MissingExtraError: a ViT without timm.
        MachineError: "hub" and it cannot be reached.
    """
    if backbone in BACKBONES:
        if weights == "hub":
            raise ConfigError(f"weights=hub is for networks of timm; for {backbone} give weights=PATH, or weights=imagenet for efficientnet_lite0")
        return BackboneFeatures(make_backbone(backbone, weights=weights).eval().to(device))
    if feature not in ("keys", "tokens"):
        raise ConfigError(f"feature wants keys or tokens, got {feature!r}")
    return ViTFeatures(_make_vit(backbone, weights=weights).eval().to(device), feature=feature)


def resize_to_patches(photo: UInt8[Tensor, "3 H W"], *, long_side_px: int, stride: int) -> UInt8[Tensor, "3 h w"]:
    """The photo with its long side near `long_side_px` and both sides multiples of `stride`, at least two patches each; antialiased."""
    scale = long_side_px / max(photo.shape[1:])
    size = [max(2, round(side * scale / stride)) * stride for side in photo.shape[1:]]
    resized = F.interpolate(photo[None].float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _query_and_key(attention: nn.Module, tokens_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys `[B, heads, N, D]` of an attention, made from what goes into it; before any rotary embedding, so without place.

    From the weights and not by a hook on the layer that makes them: some of timm's networks call that layer's weights without the layer.
    """
    module: Any = attention
    if getattr(module, "qkv", None) is not None:
        projected = F.linear(tokens_BNC, module.qkv.weight, module.qkv.bias)
        query, key, _ = projected.chunk(3, dim=-1)
        if getattr(module, "q_bias", None) is not None:
            query = query + module.q_bias
    elif hasattr(module, "q_proj") and hasattr(module, "k_proj"):
        query, key = module.q_proj(tokens_BNC), module.k_proj(tokens_BNC)
    else:
        raise ConfigError(f"keys are read from attentions with qkv or q_proj and k_proj, this network's is {type(attention).__name__}; take another ViT")
    query, key = (part.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for part in (query, key))
    return module.q_norm(query), module.k_norm(key)


def _make_vit(name: str, *, weights: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(f"backbone={name} wants timm, for it is none of {', '.join(BACKBONES)}; pip install 'mcdist[vit]'") from error
    if not timm.is_model(name):
        raise ConfigError(f"backbone wants one of {', '.join(BACKBONES)} or a ViT of timm, got {name!r}; timm.list_models('vit_*') lists them")
    try:
        network: Any = timm.create_model(name, pretrained=weights == "hub", num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        raise ConfigError(f"backbone={name} takes photos of one size only; take a plain ViT, such as vit_small_patch16_224") from error
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise MachineError(f"timm could not get the weights of {name} ({reason}); fetch them elsewhere and give weights=PATH") from error
    if not hasattr(network, "blocks") or not hasattr(network.blocks[-1], "attn"):
        raise ConfigError(f"backbone={name} has no row of attention blocks; take a plain ViT, such as vit_small_patch16_224")
    if weights == "imagenet":
        raise ConfigError(f"weights=imagenet is packaged for efficientnet_lite0 only; for {name} give weights=PATH, or weights=hub")
    if weights not in ("hub", "none"):
        from timm.models.vision_transformer import checkpoint_filter_fn

        load_weights(network, path=Path(weights), what=f"weights={weights}", convert=lambda tensors: checkpoint_filter_fn(tensors, network))
    return network

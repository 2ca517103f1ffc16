"""ViT: any plain vision transformer of timm as a backbone.

Class and register tokens never leave it: its features are the patches' output tokens, laid out as a grid. Position embeddings are
interpolated to the size of each image; a network that cannot do that is refused.
"""

import sys
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.choices import FinalNorm
from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fetched import fetched
from mcdist.model.backbones.timm_names import PREFIX, import_timm
from mcdist.model.backbones.weights import Convert
from mcdist.types import Rgb

AFTER_BLOCKS = ("norm",)
WITHOUT_FEATURES = ("blocks", *AFTER_BLOCKS, "fc_norm", "attn_pool", "head", "head_drop", "head_dist", "mask_token")
"""Parts of timm's ViTs that do not come before the blocks; those after `norm` make a classifier of it."""


class ViT(Backbone):
    """features[b, :, y, x] = the output token of patch (y, x), after the final norm. Block 0 is all that comes before the transformer's own blocks.

    `network` is timm's; its head is unused, so its parameters are frozen.
    """

    least_blocks = 2

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.stride = _patch_px(network)
        self.num_channels = int(network.num_features)
        self.num_prefix_tokens = int(network.num_prefix_tokens)
        self.num_blocks = 1 + len(network.blocks)
        self.level_channels = (self.num_channels,) * self.num_blocks
        self.final_norm: FinalNorm = "last"
        self.mean, self.std = (_colour(network.pretrained_cfg[name]) for name in ("mean", "std"))
        used = {parameter for block in self.blocks() for parameter in block.parameters()}
        for parameter in self.parameters():
            parameter.requires_grad_(parameter in used)

    def blocks(self) -> list[nn.Module]:
        """The embedding of patches and places, then the transformer's blocks, the last one together with the final norm."""
        *inner, last = self.network.blocks
        after = [getattr(self.network, name) for name in AFTER_BLOCKS]
        return [_Embedding(self.network), *inner, nn.ModuleList([last, *after])]

    def keep_first(self, num_blocks: int) -> None:
        """Drop the later blocks; the final norm stays."""
        self.network.blocks = self.network.blocks[: num_blocks - 1]
        self.level_channels = self.level_channels[:num_blocks]

    def set_recompute(self, recompute: bool) -> None:
        """Recompute the activations of each of the transformer's blocks, by timm's own means."""
        self.network.set_grad_checkpointing(recompute)

    def set_final_norm(self, final_norm: FinalNorm) -> None:
        """What the final norm is applied to: the tokens after the last block, those of all levels, or none; then it does not train."""
        self.final_norm = final_norm
        if final_norm == "none":
            for name in AFTER_BLOCKS:
                getattr(self.network, name).requires_grad_(False)

    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The patches' tokens before the first block and after each one, all on the same grid; the final norm is applied as `final_norm` says."""
        first, *later = self.network.blocks
        *seen, last = self._tokens(image, inputs_of=(first, *later))
        if self.final_norm == "all":
            seen = [self.network.norm(tokens) for tokens in seen]
        return [self.grid(tokens, image=image) for tokens in (*seen, last)]

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """`output`, or the last of `levels`, joined; without positions where that was asked. ConfigError where a side is no multiple of the patch size."""
        features = self.output(image) if self.num_levels == 1 else self.joined(self.levels(image))
        if self.debias is not None:
            features = self.debias(features)
        return features.contiguous(memory_format=torch.channels_last)

    def output(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Output tokens as a grid; a view."""
        (last,) = self._tokens(image)
        return self.grid(last, image=image)

    def _tokens(self, image: Tensor, *, inputs_of: tuple[nn.Module, ...] = ()) -> list[Tensor]:
        """The tokens that come into each of `inputs_of`, then those that leave the network."""
        height, width = image.shape[2:]
        if height % self.stride or width % self.stride:
            raise ConfigError(f"a ViT of {self.stride} px patches takes sides that are multiples of {self.stride}, got an image of {height} x {width} px")
        read = (*inputs_of, self.network.norm) if self.final_norm == "none" else inputs_of
        seen: list[Tensor] = []
        hooks = [module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for module in read]
        try:
            last = self.network.forward_features(image)
        finally:
            for hook in hooks:
                hook.remove()
        return seen if self.final_norm == "none" else [*seen, last]

    def grid(self, tokens: Float[Tensor, "B N C"], *, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """The tokens without class and register tokens, where their patches are in `image`; a view."""
        size = (image.shape[2] // self.stride, image.shape[3] // self.stride)
        return tokens[:, self.num_prefix_tokens :].mT.unflatten(2, size)


class _Embedding(nn.Module):
    """All of a ViT that comes before its blocks: a view of the network's own modules and parameters, to walk over and not to call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name, child in network.named_children():
            if name not in WITHOUT_FEATURES:
                self.add_module(name, child)
        for name, parameter in network.named_parameters(recurse=False):
            if name not in WITHOUT_FEATURES:
                self.register_parameter(name, parameter)


def make_network(name: str, *, fetch: bool = False, **options: Any) -> nn.Module:
    """timm's network, random or with the weights that timm fetches.

    `options` are arguments of timm's own, for a backbone that is a variant of one of timm's: `patch_size`, `depth`, or
    `pretrained_cfg_overlay={"mean": ..., "std": ...}`, the statistics of the pixels that its weights were trained on.

    Raises:
        ConfigError: it is no plain ViT, or takes images of one size only.
        MachineError: the weights cannot be fetched.
    """
    network = plain_vit(name, fetch=fetch, **options)
    if network is None:
        raise ConfigError(f"the backbone {name} is no plain ViT, or takes photos of one size only; use one such as {PREFIX}vit_small_patch16_224")
    return network


def plain_vit(name: str, *, fetch: bool = False, **options: Any) -> nn.Module | None:
    """`make_network`, or None where timm's network is no plain ViT or cannot interpolate its position embeddings."""
    timm = import_timm(name)
    try:
        network: nn.Module = fetched(
            lambda: timm.create_model(name.removeprefix(PREFIX), pretrained=fetch, num_classes=0, dynamic_img_size=True, **options), name=name
        )
    except TypeError:  # the network has no such option
        return None
    return network if is_plain_vit(network) else None


def is_plain_vit(network: Any) -> bool:
    """Whether it is a row of attention blocks and interpolates its position embeddings to each photo."""
    return hasattr(network, "blocks") and hasattr(network.blocks[-1], "attn") and bool(getattr(network, "dynamic_img_size", False))


def convert_of(network: nn.Module) -> Convert:
    """timm's own conversion of published files (DINO, DINOv2, ...) into this kind of network; it also resamples position embeddings."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return lambda tensors: tensors if convert is None else convert(tensors, network)


def _colour(values: Any) -> Rgb:
    red, green, blue = map(float, values)
    return red, green, blue


def _patch_px(network: Any) -> int:
    """Pixels of an image that one token stands for, along each side: more than a patch where a CNN comes first."""
    embed = network.patch_embed
    return int(embed.feat_ratio() if hasattr(embed, "feat_ratio") else embed.patch_size[0])

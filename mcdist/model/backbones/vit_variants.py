"""ViT variants: published ViTs that differ from every one of timm's by a number that no weights file holds, each with its maker."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mcdist.model.backbones.vit import make_network
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

_IMAGENET: dict[str, Any] = {"pretrained_cfg_overlay": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}}


def _franca(name: str, *, width: int, hidden: int) -> Callable[[], nn.Module]:
    """Franca's ViTs have SwiGLU layers at every size, where DINOv2 has them in its giant alone."""

    def make() -> nn.Module:
        from timm.layers import SwiGLUPacked

        swiglu: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2 * hidden / width}
        return make_network(name, **swiglu, **_IMAGENET)

    return make


VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "moco_v3_vit_small": partial(make_network, "timm/vit_small_patch16_224", num_heads=12, **_IMAGENET),
    "moco_v3_vit_base": partial(make_network, "timm/vit_base_patch16_224", **_IMAGENET),
    "franca_vit_base": _franca("timm/vit_base_patch14_dinov2", width=768, hidden=2048),
    "franca_vit_large": _franca("timm/vit_large_patch14_dinov2", width=1024, hidden=2736),
    "franca_vit_giant": _franca("timm/vit_giant_patch14_dinov2", width=1536, hidden=4096),
}
"""Name of the backbone -> its network, random. MoCo v3's ViT-S has 12 heads of 32 channels (arXiv:2104.02057); Franca: arXiv:2507.14137."""

"""LoRA: a ViT's attention learns a difference of low rank to its weights, which stay as they are (Hu et al., ICLR 2022, arXiv:2106.09685)."""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.vit import ViT


class LowRank(nn.Module):
    """weight + alpha / rank * up @ down, up being zero at the start. A parametrization: whoever reads the layer's weight gets the sum."""

    def __init__(self, weight: Float[Tensor, "O I"], *, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The sum, in the weight's dtype."""
        return weight + self.scale * (self.up @ self.down).to(weight.dtype)


def add_lora(backbone: Backbone, *, rank: int, alpha: float, first_block: int = 0) -> None:
    """Freeze the backbone, and let the linear layers of the attention of its blocks from `first_block` on learn through LowRank; in place.

    Raises:
        ConfigError: not a ViT, or no attention among those blocks.
    """
    if not isinstance(backbone, ViT):
        raise ConfigError(f"model.lora_rank={rank} is for ViTs, this backbone is none; use model.lora_rank=0, and model.trainable_from for what trains")
    backbone.requires_grad_(False)
    blocks = backbone.blocks()
    layers = [layer for block in blocks[first_block:] for name, layer in block.named_modules() if isinstance(layer, nn.Linear) and "attn." in f".{name}"]
    if not layers:
        raise ConfigError(f"model.lora_rank={rank} finds no attention from block {first_block} of {len(blocks)} on; lower model.trainable_from")
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank=rank, alpha=alpha))


def merge_lora(module: nn.Module) -> int:
    """Make every LowRank sum a plain weight, in place: the same features, and the names of a network without LoRA. Returns how many."""
    layers = [layer for layer in module.modules() if parametrize.is_parametrized(layer, "weight")]
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return len(layers)

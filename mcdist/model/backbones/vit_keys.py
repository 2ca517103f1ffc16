"""Keys: what the last attention of a ViT compares, which tells objects apart better than the output tokens do (LOST, TokenCut).

They are computed from that layer's input, read by a hook, so that no network has to be changed.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.errors import ConfigError
from mcdist.model.backbones.vit import ViT


@dataclass(frozen=True, slots=True)
class LastAttention:
    """Of a ViT's last block: its patches' keys, how much the first prefix token attends to each patch (mean over heads; None without
    one), and the output tokens, all on the grid of patches."""

    keys: Float[Tensor, "B C h w"]
    attention: Float[Tensor, "B h w"] | None
    tokens: Float[Tensor, "B C h w"]


def last_attention(vit: ViT, *, image: Float[Tensor, "B 3 H W"]) -> LastAttention:
    """Run the network once and read its last attention.

    Raises:
        ConfigError: an attention whose keys cannot be found.
    """
    last = vit.network.blocks[-1].attn
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        tokens = vit(image)
    finally:
        hook.remove()
    query_BHND, key_BHND = _query_and_key(last, seen[0])
    attention = None
    if vit.num_prefix_tokens:
        logits_BHN = (query_BHND[:, :, :1] @ key_BHND.mT)[:, :, 0] * key_BHND.shape[-1] ** -0.5
        attention = vit.grid(logits_BHN.softmax(dim=-1).mean(dim=1)[:, :, None], image=image)[:, 0]
    return LastAttention(vit.grid(key_BHND.transpose(1, 2).flatten(2), image=image), attention, tokens)


def _query_and_key(attention: nn.Module, tokens_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys `[B, heads, N, D]` of an attention, made from its input; before any rotary embedding, so without place.

    From the weights and not by a hook on the layer that makes them: some of timm's networks use that layer's weights without calling it.
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
        raise ConfigError(
            f"keys are read from attentions with qkv, or with q_proj and k_proj, but this network has {type(attention).__name__}; use another ViT"
        )
    query, key = (projected.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for projected in (query, key))
    return module.q_norm(query), module.k_norm(key)

"""The key encoder: an exponential moving average of the query encoder."""

import torch
from torch import nn

from mcdist.choices import MomentumBuffers, require_choice


@torch.no_grad()
def follow(key: nn.Module, *, query: nn.Module, momentum: float, buffers: MomentumBuffers) -> None:
    """key = momentum * key + (1 - momentum) * query, for every parameter that trains; in place, one fused call, no synchronisation.

    The others are the query's from the start and stay so: their average would be themselves.

    `buffers`: "own" leaves the key's running statistics to its own forward passes (the paper), "copy" takes the query's.

    Raises:
        ConfigError: an unknown `buffers`.
    """
    require_choice("model.momentum_buffers", buffers, choices=MomentumBuffers)
    pairs = [(mine, theirs.detach()) for mine, theirs in zip(key.parameters(), query.parameters(), strict=True) if theirs.requires_grad]
    if pairs:
        torch._foreach_lerp_([mine for mine, _ in pairs], [theirs for _, theirs in pairs], 1.0 - momentum)
    if buffers == "copy":
        mine, theirs = list(key.buffers()), list(query.buffers())
        for floating in (True, False):  # statistics apart from batch counters: lists of one dtype are copied in one call
            chosen = [index for index, buffer in enumerate(mine) if buffer.is_floating_point() is floating]
            if chosen:
                torch._foreach_copy_([mine[index] for index in chosen], [theirs[index] for index in chosen])

"""The key encoder: an exponential moving average of the query encoder."""

import torch
from torch import nn

from mcdist.choices import MomentumBuffers, require_choice


@torch.no_grad()
def follow(key: nn.Module, *, query: nn.Module, momentum: float, buffers: MomentumBuffers) -> None:
    """key = momentum * key + (1 - momentum) * query, for every parameter; in place, one fused call, no synchronisation.

    `buffers`: "own" leaves the key's running statistics to its own forward passes (the paper), "copy" takes the query's.

    Raises:
        ConfigError: an unknown `buffers`.
    """
    require_choice("model.momentum_buffers", buffers, choices=MomentumBuffers)
    torch._foreach_lerp_(list(key.parameters()), [parameter.detach() for parameter in query.parameters()], 1.0 - momentum)
    if buffers == "copy":
        mine, theirs = list(key.buffers()), list(query.buffers())
        for floating in (True, False):  # statistics apart from batch counters: lists of one dtype are copied in one call
            chosen = [index for index, buffer in enumerate(mine) if buffer.is_floating_point() is floating]
            if chosen:
                torch._foreach_copy_([mine[index] for index in chosen], [theirs[index] for index in chosen])

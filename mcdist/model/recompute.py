"""Recompute: a part's activations are not kept for the backward pass but computed again in it. Less memory for about a third more time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(part: nn.Module, features: Tensor) -> Tensor:
    """part(features), of which only `features` is kept; the same values and gradients, bit for bit, and running statistics move once.

    Chen et al. 2016 (arXiv:1604.06174), through torch.utils.checkpoint. Without gradients it is a plain call. Norm layers that span ranks
    exchange their sums once more in the backward pass.
    """
    if not torch.is_grad_enabled():
        made: Tensor = part(features)
        return made

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _spare_buffers(part)

    again: Tensor = checkpoint(part, features, use_reentrant=False, context_fn=contexts)
    return again


@contextmanager
def _spare_buffers(part: nn.Module) -> Iterator[None]:
    """The part runs on copies of its buffers for a while: the second forward pass must not move running statistics a second time."""
    kept = [(module, dict(module._buffers)) for module in part.modules() if module._buffers]
    for module, buffers in kept:
        module._buffers.update({name: buffer.clone() for name, buffer in buffers.items() if buffer is not None})
    try:
        yield
    finally:
        for module, buffers in kept:
            module._buffers.update(buffers)

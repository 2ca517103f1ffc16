"""Recompute: a module's activations are not kept for the backward pass but computed again in it. Less memory for about a third more time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, features: Tensor) -> Tensor:
    """module(features), of which only `features` is kept; the same values and gradients, bit for bit, and running statistics move once.

    Chen et al. 2016 (arXiv:1604.06174), through torch.utils.checkpoint. Without gradients it is a plain call. Norm layers that span ranks
    exchange their sums once more in the backward pass.
    """
    if not torch.is_grad_enabled():
        output: Tensor = module(features)
        return output

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _spare_buffers(module)

    again: Tensor = checkpoint(module, features, use_reentrant=False, context_fn=contexts)
    return again


@contextmanager
def _spare_buffers(module: nn.Module) -> Iterator[None]:
    """Run the module on copies of its buffers: the second forward pass must not move running statistics a second time."""
    kept = [(inner, dict(inner._buffers)) for inner in module.modules() if inner._buffers]
    for inner, buffers in kept:
        inner._buffers.update({name: buffer.clone() for name, buffer in buffers.items() if buffer is not None})
    try:
        yield
    finally:
        for inner, buffers in kept:
            inner._buffers.update(buffers)

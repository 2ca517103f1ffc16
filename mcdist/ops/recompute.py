"""Run a piece of work while keeping only its operands for the backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(piece: Callable[..., Any], *operands: Any) -> Any:
    """`piece(*operands)`; if a gradient is needed, its inner tensors are computed again in the backward pass. `piece` must draw no random numbers."""
    is_needed = torch.is_grad_enabled() and any(isinstance(operand, Tensor) and operand.requires_grad for operand in operands)
    # a plain call where none is needed: the first checkpoint of a process imports the compiler, which takes seconds
    return checkpoint(piece, *operands, use_reentrant=False, preserve_rng_state=False) if is_needed else piece(*operands)

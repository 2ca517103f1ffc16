"""Run a piece of work and keep only its operands for the backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(piece: Callable[..., Any], *operands: Any) -> Any:
    """`piece(*operands)`; where a gradient is wanted its inner tensors are made again in the backward pass. `piece` draws no random numbers."""
    wanted = torch.is_grad_enabled() and any(isinstance(operand, Tensor) and operand.requires_grad for operand in operands)
    # without a gradient plain: the first checkpoint of a process imports the compiler, which takes seconds
    return checkpoint(piece, *operands, use_reentrant=False, preserve_rng_state=False) if wanted else piece(*operands)

"""Engine: what the step needs from whatever runs the encoders. EngineDDP and EngineDeepSpeed implement it; nothing else knows which one runs."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mcdist.choices import Precision
from mcdist.distributed import World
from mcdist.types import Embedded

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@runtime_checkable
class Engine(Protocol):
    """Runs query and key encoder in their precision and updates the query: exchange of gradients, clipping, loss scaling, the skipped step.

    A step is: `forward` and `backward` for each micro-batch of this rank, in turn, then `step`. Whatever the engine, the query's own
    parameters are whole and float32 on every rank between two steps: that is what the key encoder follows and what a checkpoint holds.
    """

    world: World
    scaler: torch.amp.GradScaler
    """Loss scale of fp16; disabled, and without any state, in other precisions."""

    def forward(self, images: Float[Tensor, "B C H W"], *, last: bool) -> Embedded:
        """The query encoder on one micro-batch; `last`: the last of this step."""
        ...

    def forward_key(self, images: Float[Tensor, "B C H W"]) -> Embedded:
        """The key encoder on one micro-batch, without a gradient."""
        ...

    def backward(self, loss: Float[Tensor, ""], *, last: bool, summed: bool) -> None:
        """Add the gradient of `loss`. The ranks' gradients are averaged; `summed`: the ranks' losses add up to the whole, so the mean is undone."""
        ...

    def step(self, *, lr: float) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Update the query unless a gradient is not finite. Returns (gradient norm over all ranks before clipping, 1.0 where the step was skipped)."""
        ...

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer's whole state as `{"parameter name/state name": tensor}`, each in its parameter's shape. All ranks call it together.

        Rank 0 gets all of it; the others may get nothing.
        """
        ...

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `optimizer_tensors`, after the query's parameters were loaded. Each rank passes all of it and keeps its own share.

        Raises:
            CheckpointError: the checkpoint lacks a tensor of the optimizer.
        """
        ...

"""EngineBase: what both engines share: precision, the key encoder, loss scaling, and the optimizer's tensors by the query's names."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from mcdist.choices import Precision, require_choice
from mcdist.distributed import World
from mcdist.train.engines.engine import DTYPES
from mcdist.train.engines.optimizer import load_optimizer_tensors, optimizer_tensors
from mcdist.types import Embedded


class EngineBase:
    """Precision is autocast over float32 parameters, and a loss scale where it is fp16."""

    def __init__(self, query: nn.Module, *, key: nn.Module, optimizer: Optimizer, world: World, precision: Precision, clip_grad_norm: float) -> None:
        require_choice("optim.precision", precision, choices=Precision)
        self.optimizer = optimizer
        self.world = world
        self.clip_grad_norm = clip_grad_norm
        self.autocast_dtype = DTYPES[precision]
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=precision == "fp16")
        self._run_key = key
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in query.named_parameters()}
        self._parameters: list[nn.Parameter] = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def autocast(self) -> torch.autocast:
        """The precision of forward passes."""
        return torch.autocast(self.world.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not torch.float32)

    @torch.no_grad()
    def forward_key(self, images: Float[Tensor, "B C H W"]) -> Embedded:
        """The key encoder on one micro-batch, without a gradient."""
        with self.autocast():
            embedded: Embedded = self._run_key(images)
        return embedded

    def scaled(self, loss: Float[Tensor, ""], *, summed: bool) -> Float[Tensor, ""]:
        """What to go backward from. `summed`: the ranks' losses add up to the whole, so the mean over ranks that follows is undone."""
        return self.scaler.scale(loss * (self.world.num_ranks if summed else 1))

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer's state as it is, on every rank; no collective."""
        return optimizer_tensors(self.optimizer, names=self._names)

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `optimizer_tensors`. Raises CheckpointError where a tensor is missing."""
        load_optimizer_tensors(self.optimizer, names=self._names, tensors=tensors)

"""EngineDeepSpeed: ZeRO 0, 1 and 2 by DeepSpeed. The only home of deepspeed. See `mcdist.train.engines.engine`.

DeepSpeed partitions the optimizer's state, and from stage 2 on the gradients, over the ranks. Everything else is done as EngineDDP does it, so that a
setting means the same on both: loss scaling and clipping divide the gradients just before the update, a gradient that is not finite skips the step.
Gradients of all micro-batches but the last are added up on the parameters (stage 1) or sent as they come (stage 2). DeepSpeed looks at the gradient's
norm on the host: one wait a step.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from mcdist.choices import Precision
from mcdist.distributed import World
from mcdist.errors import MissingExtraError
from mcdist.machine.variables import variables
from mcdist.train.engines.as_tuple import AsTuple
from mcdist.train.engines.base import EngineBase
from mcdist.train.engines.optimizer import checked_tensor, set_lr, start_state
from mcdist.types import Embedded

CLIP_EPSILON = 1e-6
"""As in torch's own clipping."""


class EngineDeepSpeed(EngineBase):
    """Owns how the encoders are run and the query updated."""

    def __init__(
        self, query: nn.Module, *, key: nn.Module, optimizer: Optimizer, world: World, precision: Precision, clip_grad_norm: float, settings: dict[str, Any]
    ) -> None:
        """`settings`: of `deepspeed_settings`. `optimizer` is taken over: its groups become partitions.

        Raises:
            MissingExtraError: deepspeed is not installed.
        """
        deepspeed = import_deepspeed(world)
        super().__init__(query, key=key, optimizer=optimizer, world=world, precision=precision, clip_grad_norm=clip_grad_norm)
        self._fragments: Any = deepspeed.utils
        self._groups: list[list[nn.Parameter]] = [list(group["params"]) for group in optimizer.param_groups]
        query.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # DeepSpeed sends parameters as bytes, and ZeRO lays them end to end
        optimizer.state.clear()  # made for whole parameters
        with _started_for(world):
            self._engine, *_ = deepspeed.initialize(model=AsTuple(query), optimizer=optimizer, config=settings, dist_init_required=None)
        self._zero: Any = self._engine.optimizer if settings["zero_optimization"]["stage"] else None
        start_state(optimizer)
        if self._zero is not None:
            self._zero._lazy_init_hp_params_optimizer_state()  # lets the accessors below find the state before a first step
        self._scale, self._scaled_norm = 1.0, 0.0
        optimizer.register_step_pre_hook(lambda *_: self._divide())

    def forward(self, images: Float[Tensor, "B C H W"], *, last: bool) -> Embedded:
        """The query encoder on one micro-batch."""
        self._engine.set_gradient_accumulation_boundary(last)
        with self.autocast():
            return Embedded(*self._engine(images))

    def backward(self, loss: Float[Tensor, ""], *, last: bool, summed: bool) -> None:
        """Add the gradient of `loss`. `summed`: the ranks' losses add up to the whole, so DeepSpeed's mean over ranks is undone."""
        self._engine.backward(self.scaled(loss, summed=summed))

    def step(self, *, lr: float) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Update the query encoder unless a gradient is not finite. Returns (gradient norm, 1.0 where the step was skipped), on the device."""
        set_lr(self.optimizer, lr=lr)
        self._scale = float(self.scaler.get_scale())
        if self._zero is None:
            self._scaled_norm = float(nn.utils.get_total_norm([parameter.grad for parameter in self._parameters if parameter.grad is not None]))
            overflow = not math.isfinite(self._scaled_norm)
            (self._engine.zero_grad if overflow else self._engine.step)()
        else:
            self._engine.step()
            overflow, self._scaled_norm = bool(self._zero.overflow), float(self._zero._global_grad_norm)
        skipped = torch.tensor(float(overflow), device=self.world.device)
        update_scale(self.scaler, optimizer=self.optimizer, found_inf=skipped)
        return torch.tensor(self._scaled_norm / self._scale, device=self.world.device), skipped

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The whole state on rank 0, gathered parameter by parameter: an all-reduce for each and each of its states. Empty on other ranks."""
        if self._zero is None:
            return super().optimizer_tensors()
        gathered = {}
        for parameters, partition in self._partitions():
            for parameter in parameters:
                for key, value in self.optimizer.state[partition].items():
                    whole = value.clone() if value.dim() == 0 else self._fragments.safe_get_full_optimizer_state(parameter, key)
                    if self.world.is_first:
                        gathered[f"{self._names[parameter]}/{key}"] = whole
        return gathered

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `optimizer_tensors`. Raises CheckpointError where a tensor is missing."""
        if self._zero is None:
            super().load_optimizer_tensors(tensors)
            return
        self._zero.refresh_fp32_params()  # the parameters were loaded in place; these are the copies that the optimizer moves
        for parameters, partition in self._partitions():
            for parameter in parameters:
                for key, value in self.optimizer.state[partition].items():
                    shape = value.shape if value.dim() == 0 else parameter.shape
                    given = checked_tensor(tensors, f"{self._names[parameter]}/{key}", shape=shape).to(self.world.device)
                    if value.dim() == 0:
                        value.copy_(given)
                    else:
                        self._fragments.safe_set_full_optimizer_state(parameter, given, key)

    def _partitions(self) -> list[tuple[list[nn.Parameter], Tensor]]:
        """(parameters of a group, this rank's part of them laid end to end) of each group."""
        return [(parameters, group["params"][0]) for parameters, group in zip(self._groups, self.optimizer.param_groups, strict=True)]

    def _divide(self) -> None:
        """Just before the update: undo the loss scale and clip. For ZeRO's partitions the norm is known from here on."""
        norm = self._scaled_norm if self._zero is None else float(self._zero._global_grad_norm)
        clipping = max(1.0, (norm / self._scale + CLIP_EPSILON) / self.clip_grad_norm) if self.clip_grad_norm else 1.0
        divisor = self._scale * clipping
        gradients = [parameter.grad for group in self.optimizer.param_groups for parameter in group["params"] if parameter.grad is not None]
        if divisor != 1.0:
            torch._foreach_div_(gradients, divisor)


def update_scale(scaler: torch.amp.GradScaler, *, optimizer: Optimizer, found_inf: Tensor) -> None:
    """scaler.update() where whether a gradient is not finite was found out elsewhere, as DeepSpeed does."""
    if scaler.is_enabled():
        scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = {found_inf.device: found_inf}
        scaler.update()


def import_deepspeed(world: World) -> ModuleType:
    """Import the package for this device, with nothing to compile, and silent below errors."""
    device = world.device.type
    with variables(DS_ACCELERATOR=device):
        try:
            import deepspeed
        except ImportError as error:
            raise MissingExtraError(
                f"optim.engine=deepspeed needs the package deepspeed ({error}); run: pip install 'mcdist[deepspeed]', or set optim.engine=ddp"
            ) from error
        deepspeed.get_accelerator()  # remembers the device
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else two minutes of compiling, on a CPU
    return deepspeed


@contextmanager
def _started_for(world: World) -> Iterator[None]:
    """DeepSpeed needs a process group even for one rank, and LOCAL_RANK, by which it finds the device."""
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo", store=dist.HashStore(), rank=0, world_size=1)
    with variables(LOCAL_RANK=str(world.device.index or 0)):
        yield

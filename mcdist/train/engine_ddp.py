"""EngineDDP: forward, backward and optimizer step on one device or, through DistributedDataParallel, on many. The loop cannot tell which."""

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mcdist.distributed import World
from mcdist.train.optimizer import set_lr, step_where_finite
from mcdist.types import Embedded

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EngineDDP:
    """Owns how the encoders are run and the query updated: autocast, loss scaling, gradient exchange, clipping, the skipped step."""

    def __init__(
        self, query: nn.Module, *, key: nn.Module, optimizer: Optimizer, world: World, precision: str, clip_grad_norm: float, compile_mode: str | None
    ) -> None:
        """`compile_mode`: torch.compile's own mode; None runs the encoders as they are."""
        self.optimizer = optimizer
        self.world = world
        self.clip_grad_norm = clip_grad_norm
        self.autocast_dtype = DTYPES[precision]
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=precision == "fp16")
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._compiled = compile_mode is not None
        run: nn.Module = torch.compile(query, mode=compile_mode) if self._compiled else query  # type: ignore[assignment]
        self._run_key: nn.Module = torch.compile(key, mode=compile_mode) if self._compiled else key  # type: ignore[assignment]
        if world.num_ranks > 1:
            device_ids = [world.device.index] if world.device.type == "cuda" else None
            run = DistributedDataParallel(run, device_ids=device_ids, gradient_as_bucket_view=True, static_graph=False)
        self._run = run
        self._mark_step()

    def autocast(self) -> torch.autocast:
        """The precision of forward passes."""
        return torch.autocast(self.world.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not torch.float32)

    def forward(self, images: Float[Tensor, "B 3 H W"], *, last: bool) -> Embedded:
        """The query encoder on one micro-batch. Gradients are exchanged between ranks in the backward of the `last` one only."""
        with self._sync(last), self.autocast():
            embedded: Embedded = self._run(images)
        return embedded

    @torch.no_grad()
    def forward_key(self, images: Float[Tensor, "B 3 H W"]) -> Embedded:
        """The key encoder on one micro-batch, without a gradient."""
        with self.autocast():
            embedded: Embedded = self._run_key(images)
        return embedded

    def backward(self, loss: Float[Tensor, ""], *, last: bool, summed: bool) -> None:
        """Add the gradient of `loss`. `summed`: the ranks' losses add up to the whole, so DDP's mean over ranks is undone."""
        factor = self.world.num_ranks if summed else 1
        with self._sync(last):
            self.scaler.scale(loss * factor).backward()

    def step(self, *, lr: float) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Update the query encoder unless a gradient is not finite. Returns (gradient norm, 1.0 where the step was skipped), on the device.

        The norm is that of the gradients after their exchange, so all ranks agree without asking each other.
        """
        set_lr(self.optimizer, lr=lr)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self.clip_grad_norm:
            nn.utils.clip_grads_with_norm_(self._parameters, self.clip_grad_norm, norm)
        skipped = (~torch.isfinite(norm)).to(torch.float32)
        step_where_finite(self.optimizer, found_inf=skipped)
        if self.scaler.is_enabled():
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._mark_step()
        return norm.detach(), skipped

    def _mark_step(self) -> None:
        """CUDA graphs may use their memory again from here on: what they returned since the last mark (embeddings, gradients) is no longer needed.

        Without marks every call of a compiled encoder would count as a new step, and the second micro-batch would overwrite the first one's gradients.
        """
        if self._compiled:
            torch.compiler.cudagraph_mark_step_begin()

    def _sync(self, last: bool) -> "nullcontext[None]":
        waits = isinstance(self._run, DistributedDataParallel) and not last
        return self._run.no_sync() if waits else nullcontext()  # type: ignore[operator,return-value]

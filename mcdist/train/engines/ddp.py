"""EngineDDP: forward, backward and optimizer step on one device or, through DistributedDataParallel, on many. See `mcdist.train.engines.engine`."""

from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mcdist.choices import CompileMode, GradientExchange, Precision, require_choice
from mcdist.distributed import World
from mcdist.train.engines.as_tuple import AsTuple
from mcdist.train.engines.base import EngineBase
from mcdist.train.engines.exchange import register_exchange
from mcdist.train.engines.optimizer import set_lr, step_where_finite
from mcdist.types import Embedded

OWN_BUFFERS: dict[str, Any] = {
    next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in signature(DistributedDataParallel).parameters): False  # torch renamed it
}
"""No rank's running statistics travel in a step: in training nothing reads them, and the checkpoint holds rank 0's as it would if they did."""


class EngineDDP(EngineBase):
    """Owns how the encoders are run and the query updated: autocast, loss scaling, gradient exchange, clipping, the skipped step."""

    def __init__(
        self,
        query: nn.Module,
        *,
        key: nn.Module,
        optimizer: Optimizer,
        world: World,
        precision: Precision,
        clip_grad_norm: float,
        compile_mode: CompileMode | None,
        bucket_mib: float = 25.0,
        gradient_exchange: GradientExchange = "auto",
    ) -> None:
        """`compile_mode`: torch.compile's own mode; None runs the encoders as they are. `gradient_exchange`: see `mcdist.train.engines.exchange`.

        Raises:
            ConfigError: an unknown precision, mode or exchange.
        """
        require_choice("optim.gradient_exchange", gradient_exchange, choices=GradientExchange)
        if compile_mode is not None:
            require_choice("optim.compile_mode", compile_mode, choices=CompileMode)
        super().__init__(query, key=key, optimizer=optimizer, world=world, precision=precision, clip_grad_norm=clip_grad_norm)
        self._run = query
        self._compiled = compile_mode is not None
        if self._compiled:
            self._run, self._run_key = torch.compile(query, mode=compile_mode), torch.compile(key, mode=compile_mode)  # type: ignore[assignment]
        self._exchanging: DistributedDataParallel | None = None
        if world.num_ranks > 1:
            self._exchanging = DistributedDataParallel(
                AsTuple(self._run),
                device_ids=[world.device.index] if world.device.type == "cuda" else None,
                bucket_cap_mb=bucket_mib,
                gradient_as_bucket_view=True,
                static_graph=not self._compiled,  # torch.compile needs a dynamic one
                **OWN_BUFFERS,
            )
            register_exchange(self._exchanging, name=gradient_exchange)
        self._mark_step()

    def forward(self, images: Float[Tensor, "B C H W"], *, last: bool) -> Embedded:
        """The query encoder on one micro-batch. Gradients are exchanged between ranks in the backward of the `last` one only."""
        with self.autocast():
            if last and self._exchanging is not None:
                return Embedded(*self._exchanging(images))
            embedded: Embedded = self._run(images)
        return embedded

    def backward(self, loss: Float[Tensor, ""], *, last: bool, summed: bool) -> None:
        """Add the gradient of `loss`. `summed`: the ranks' losses add up to the whole, so DDP's mean over ranks is undone."""
        scaled = self.scaled(loss, summed=summed)
        if last or self.world.num_ranks == 1:
            scaled.backward()
        else:
            self._accumulate(scaled)

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

    def _accumulate(self, loss: Tensor) -> None:
        """Gradients of a micro-batch that is not the last, with none of DDP's hooks: those of a static graph count every backward pass, and
        `no_sync` is refused with it.
        """
        gradients = torch.autograd.grad(loss, self._parameters)
        if self._parameters[0].grad is None:
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
        else:
            held: list[Any] = [parameter.grad for parameter in self._parameters]
            torch._foreach_add_(held, gradients)

    def _mark_step(self) -> None:
        """CUDA graphs may use their memory again from here on: what they returned since the last mark (embeddings, gradients) is no longer needed.

        Without marks every call of a compiled encoder would count as a new step, and the second micro-batch would overwrite the first one's gradients.
        """
        if self._compiled:
            torch.compiler.cudagraph_mark_step_begin()

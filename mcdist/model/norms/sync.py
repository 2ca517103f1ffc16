"""Batch normalisation over the global batch: R ranks compute what one rank with all their images would, on any device.

torch's SyncBatchNorm refuses CPU tensors and gathers statistics rank by rank. Here the ranks' sums are added up, one exchange forward and one
backward a layer, each of 2 C + 1 and 2 C numbers; the rest is torch's own kernels.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SumOverRanks = Callable[[Tensor], Tensor]
"""Adds a tensor up over all ranks, in place, and returns it."""


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose mean and variance in train mode are those of all ranks' images; the same parameters, buffers and names.

    Every rank must run it equally often and in the same order. Running statistics are the same bits on all ranks.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm2d, *, sum_over_ranks: SumOverRanks) -> "SyncBatchNorm2d":
        """`norm`'s own parameters and buffers, synchronised from here on."""
        if norm.momentum is None or not norm.affine or not norm.track_running_stats:
            raise ValueError("SyncBatchNorm2d must be made of a BatchNorm2d with affine parameters, running statistics and a momentum")
        made = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var, made.num_batches_tracked = norm.running_mean, norm.running_var, norm.num_batches_tracked
        made.sum_over_ranks = sum_over_ranks
        return made.train(norm.training)

    sum_over_ranks: SumOverRanks

    def forward(self, input: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:  # noqa: A002 - torch's own name
        """y = (x - mean) / sqrt(var + eps) * weight + bias; moments in float64, whatever `input` is."""
        if not self.training:
            return super().forward(input)
        return self._normalised(input)

    @torch.compiler.disable
    def _normalised(self, x_BCHW: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None and self.momentum is not None
        mean, var, count = global_moments(x_BCHW, sum_over_ranks=self.sum_over_ranks)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = var * count / (count - 1).clamp_min(1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        dtype = self.weight.dtype
        normalised: Tensor = _Normalise.apply(x_BCHW, self.weight, self.bias, mean.to(dtype), var.to(dtype), count, self.eps, self.sum_over_ranks)
        return normalised


@torch.no_grad()
def global_moments(x_BCHW: Float[Tensor, "B C h w"], *, sum_over_ranks: SumOverRanks) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"], Float[Tensor, ""]]:
    """(mean, biased variance, count) of each channel over all ranks, in float64; one exchange.

    Each rank's own variance is computed around its own mean; the sums of squares that the ranks add up are float64, so nothing cancels.
    """
    own_var, own_mean = torch.var_mean(_exact(x_BCHW), dim=(0, 2, 3), correction=0)
    own_count = x_BCHW.numel() // x_BCHW.shape[1]
    mean, var = own_mean.double(), own_var.double()
    sums = sum_over_ranks(torch.cat([mean, var + mean * mean, torch.ones_like(mean[:1])]) * own_count)
    count, channels = sums[-1], x_BCHW.shape[1]
    mean = sums[:channels] / count
    return mean, (sums[channels:-1] / count - mean * mean).clamp_min(0.0), count


class _Normalise(torch.autograd.Function):
    """Mean and variance are functions of every rank's input: the gradient goes back through them to all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, count: Tensor, eps: float, sum_over_ranks: SumOverRanks
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.sum_over_ranks = eps, sum_over_ranks
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """dx = weight / std (dy - mean(dy) - xhat mean(dy xhat)), the means over all ranks' pixels; weight and bias get this rank's share."""
        x, weight, mean, var, count = ctx.saved_tensors
        direct, dweight, dbias = torch.ops.aten.native_batch_norm_backward(dy, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True])
        sums = ctx.sum_over_ranks(torch.cat([dbias, dweight]).double())
        mean_dy, mean_dy_xhat = (sums / count).chunk(2)
        inverse_std = (var.double() + ctx.eps).rsqrt()
        slope = -weight * inverse_std * inverse_std * mean_dy_xhat
        offset = -weight * inverse_std * mean_dy - slope * mean
        slope, offset = (value.to(weight.dtype)[:, None, None] for value in (slope, offset))
        dx = torch.addcmul(_exact(direct).add_(offset), x, slope).to(x.dtype)  # `direct` is nobody else's: in place where its dtype allows
        return dx, dweight, dbias, None, None, None, None, None


def _exact(x: Tensor) -> Tensor:
    """At least float32: 16-bit numbers have too few digits for sums."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

"""Fused operators with one fault each, for the trial to find; `planted(fault)` is a Trial of them, "" one without a fault."""

from typing import Any

import torch
from torch import Tensor

from mcdist.ops.mask_contrast.library import mask_contrast_op
from mcdist.ops.mask_pool.library import mask_pool_op
from mcdist.ops.trial import Trial

FUSED_OF_CONTRAST, FUSED_OF_POOL = 8, 4
"""The place of the argument `fused`."""

CONTRAST_FAULTS = {
    "the loss is off by 1 %": "loss differs by",
    "the gradient is off by 1 %": "gradient differs by",
    "the gradient of one place is missing": "gradient differs by",
    "one pixel more is correct": "correct differs by 1, allowed is 0",
    "the loss is NaN": "loss differs by nan",
    "it raises": "mask_contrast in float32 failed: RuntimeError: no kernel image is available for execution on the device",
}
POOL_FAULTS = {
    "a row is off": "mask_pool in float32: pooled rows differs by",
    "a count is off": "mask_pool in float32: pixel counts differs by 1, allowed is 0",
    "half precision is off": "mask_pool in bfloat16: pooled rows differs by",
}
"""What the first comparison that fails says."""


class _Gradient(torch.autograd.Function):
    """The identity, whose gradient loses a share or its first place."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, fault: str) -> Tensor:
        ctx.fault = fault
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, dfeatures: Tensor) -> tuple[Tensor, None]:
        if "place" in ctx.fault:
            dfeatures = dfeatures.clone()
            dfeatures[0, :, 1, 1] = 0
            return dfeatures, None
        return dfeatures * 1.01, None


def planted(fault: str) -> Trial:
    """A trial of operators whose fused way has this fault."""

    def contrast(features: Tensor, *operands: Any) -> tuple[Tensor, Tensor, Tensor]:
        if not operands[FUSED_OF_CONTRAST - 1] or fault not in CONTRAST_FAULTS:
            return mask_contrast_op(features, *operands)
        if fault == "it raises":
            raise RuntimeError("no kernel image is available for execution on the device\nCompile with TORCH_USE_CUDA_DSA")
        loss, correct, gradient = mask_contrast_op(_Gradient.apply(features, fault) if "gradient" in fault else features, *operands)
        loss = loss * {"the loss is off by 1 %": 1.01, "the loss is NaN": float("nan")}.get(fault, 1.0)
        return loss, correct + (fault == "one pixel more is correct"), gradient

    def pool(features: Tensor, instances: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
        sums, num_pixels = mask_pool_op(features, instances, *settings)
        if settings[FUSED_OF_POOL - 2]:
            off = fault == "a row is off" or (fault == "half precision is off" and features.dtype == torch.bfloat16)
            sums = sums + torch.eye(*sums.shape) * 1e-2 * off
            num_pixels = num_pixels + (fault == "a count is off") * torch.eye(1, len(num_pixels), dtype=torch.int64)[0]
        return sums, num_pixels

    return Trial(contrast=contrast, pool=pool)

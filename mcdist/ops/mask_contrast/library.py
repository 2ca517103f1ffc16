"""The contrastive loss as one operator of torch: known to autograd, torch.compile and fake tensors, and opaque to them.

The gradient is computed in the forward pass, where the softmax is at hand, and only scaled in the backward pass, since the loss is one
number. So nothing is kept but a tensor as large as the features.
"""

from typing import Any

import torch
from torch import Tensor

from mcdist.ops.mask_contrast.compact import contrast_compact
from mcdist.ops.mask_contrast.native import contrast_native
from mcdist.ops.targets import pixel_targets


@torch.library.custom_op("mcdist::mask_contrast", mutates_args=())
def mask_contrast_op(
    features: Tensor,
    instances: Tensor,
    row_of: Tensor,
    candidates: Tensor,
    excluded: Tensor,
    weight: Tensor,
    temperature: float,
    stride: int,
    fused: bool,
    want_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(sum of weight x cross-entropy, number correct, gradient of the sum or an empty tensor); see `contrast_native` for the operands."""
    if fused and features.device.type == "cuda":
        from mcdist.ops.mask_contrast.kernel import contrast_triton

        targets = pixel_targets(instances, row_of_BO=row_of)
        return contrast_triton(
            features,
            targets,
            candidates,
            excluded,
            weight_P=weight,
            temperature=temperature,
            stride=stride,
            want_gradient=want_gradient,
        )
    contrast = contrast_native if fused else contrast_compact
    return contrast(
        features.to(candidates.dtype),
        instances,
        row_of,
        candidates,
        excluded,
        weight_P=weight,
        temperature=temperature,
        stride=stride,
        want_gradient=want_gradient,
    )


@mask_contrast_op.register_fake
def _shapes(
    features: Tensor, instances: Tensor, row_of: Tensor, candidates: Tensor, excluded: Tensor, weight: Tensor, *settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    want_gradient = settings[3]
    B, D, h, w = features.shape
    dfeatures = candidates.new_empty(B, h, w, D).permute(0, 3, 1, 2) if want_gradient else candidates.new_empty(0)
    return candidates.new_empty(()), candidates.new_empty((), dtype=torch.int64), dfeatures


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.features_dtype = inputs[0].dtype
    ctx.save_for_backward(output[2])


def _scale_gradient(ctx: Any, dloss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    (dfeatures,) = ctx.saved_tensors
    return ((dfeatures * dloss).to(ctx.features_dtype), *[None] * 9)


mask_contrast_op.register_autograd(_scale_gradient, setup_context=_keep_gradient)

"""Mask pooling as one operator of torch, and its gradient as another: known to autograd, torch.compile and fake tensors."""

from typing import Any

import torch
from torch import Tensor

from mcdist.ops.mask_pool.compact import pool_compact, pool_compact_backward
from mcdist.ops.mask_pool.native import pool_native, pool_native_backward


@torch.library.custom_op("mcdist::mask_pool", mutates_args=())
def mask_pool_op(features: Tensor, instances: Tensor, max_objects: int, stride: int, fused: bool) -> tuple[Tensor, Tensor]:
    """(sum of unit pixel embeddings, number of pixels) of every object."""
    if fused and features.device.type == "cuda":
        from mcdist.ops.mask_pool.kernel import pool_triton

        rows = _rows(instances, max_objects=max_objects)
        return pool_triton(features, rows, num_rows=len(features) * max_objects, stride=stride)
    pool = pool_native if fused else pool_compact
    return pool(_widened(features), instances, max_objects=max_objects, stride=stride)


@mask_pool_op.register_fake
def _shapes(features: Tensor, instances: Tensor, max_objects: int, stride: int, fused: bool) -> tuple[Tensor, Tensor]:
    num_rows = len(features) * max_objects
    return features.new_empty(num_rows, features.shape[1], dtype=_wide(features.dtype)), features.new_empty(num_rows, dtype=torch.int64)


@torch.library.custom_op("mcdist::mask_pool_backward", mutates_args=())
def mask_pool_backward_op(features: Tensor, instances: Tensor, dsums: Tensor, max_objects: int, stride: int, fused: bool) -> Tensor:
    """The gradient of the features, in their own dtype."""
    if fused and features.device.type == "cuda":
        from mcdist.ops.mask_pool.kernel import pool_triton_backward

        rows = _rows(instances, max_objects=max_objects)
        return pool_triton_backward(features, rows, dsums, stride=stride).to(features.dtype)
    pull_back = pool_native_backward if fused else pool_compact_backward
    return pull_back(_widened(features), instances, dsums, max_objects=max_objects, stride=stride).to(features.dtype)


@mask_pool_backward_op.register_fake
def _shape(features: Tensor, instances: Tensor, dsums: Tensor, max_objects: int, stride: int, fused: bool) -> Tensor:
    B, D, h, w = features.shape
    return features.new_empty(B, h, w, D).permute(0, 3, 1, 2)


def _keep_operands(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.settings = inputs[2:]
    ctx.save_for_backward(*inputs[:2])


def _pull_back(ctx: Any, dsums: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    features, instances = ctx.saved_tensors
    return (mask_pool_backward_op(features, instances, dsums.contiguous(), *ctx.settings), *[None] * 4)


mask_pool_op.register_autograd(_pull_back, setup_context=_keep_operands)


def _rows(instances: Tensor, *, max_objects: int) -> Tensor:
    """The output row of every pixel; -1 if it belongs to no object."""
    first = torch.arange(len(instances), device=instances.device, dtype=torch.int32)[:, None, None] * max_objects
    return torch.where((instances >= 1) & (instances <= max_objects), instances.to(torch.int32) - 1 + first, -1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _widened(features: Tensor) -> Tensor:
    return features.to(_wide(features.dtype))

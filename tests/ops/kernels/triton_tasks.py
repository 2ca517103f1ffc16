"""What `triton_process` runs: the kernels' host functions, every allocation of theirs filled with what must not be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.loss.resources import Point, compile_kernels, occupancy_percent
from mcdist.ops import trial
from mcdist.ops.mask_contrast.kernel import contrast_triton
from mcdist.ops.mask_contrast.library import mask_contrast_op
from mcdist.ops.mask_pool.kernel import pool_triton, pool_triton_backward
from mcdist.ops.mask_pool.library import _rows as pool_rows
from mcdist.ops.mask_pool.library import mask_pool_op
from mcdist.ops.targets import pixel_targets


@contextmanager
def spoilt_memory() -> Iterator[None]:
    """Fresh tensors hold NaN, or a number that is no place in any tensor."""
    empty, new_empty = torch.empty, Tensor.new_empty

    def spoil(tensor: Tensor) -> Tensor:
        return tensor.fill_(torch.nan if tensor.is_floating_point() else -987_654_321)

    with (
        mock.patch.object(torch, "empty", lambda *sizes, **options: spoil(empty(*sizes, **options))),
        mock.patch.object(Tensor, "new_empty", lambda tensor, *sizes, **options: spoil(new_empty(tensor, *sizes, **options))),
    ):
        yield


def contrast(**operands: Any) -> tuple[Tensor, Tensor, Tensor]:
    with spoilt_memory():
        return contrast_triton(**{"want_gradient": True, **operands})


def pool(features: Tensor, rows: Tensor, *, num_rows: int, stride: int, dsums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with spoilt_memory():
        sums, num_pixels = pool_triton(features, rows, num_rows=num_rows, stride=stride)
        return sums, num_pixels, pool_triton_backward(features, rows, dsums, stride=stride)


class Contrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, operands: dict[str, Any]) -> Tensor:
        loss, _, ctx.gradient = contrast(features_BDhw=features, **operands)
        return loss

    @staticmethod
    def backward(ctx: Any, dloss: Tensor) -> tuple[Tensor, None]:
        return dloss * ctx.gradient, None


class Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor, num_rows: int, stride: int) -> Tensor:
        ctx.operands, ctx.stride = (features, rows), stride
        with spoilt_memory():
            return pool_triton(features, rows, num_rows=num_rows, stride=stride)[0]

    @staticmethod
    def backward(ctx: Any, dsums: Tensor) -> tuple[Tensor, None, None, None]:
        features, rows = ctx.operands
        with spoilt_memory():
            return pool_triton_backward(features, rows, dsums, stride=ctx.stride), None, None, None


def contrast_gradcheck(features_BDhw: Tensor, **operands: Any) -> bool:
    return torch.autograd.gradcheck(lambda features: Contrast.apply(features, operands), (features_BDhw.requires_grad_(),))


def pool_gradcheck(features: Tensor, rows: Tensor, *, num_rows: int, stride: int) -> bool:
    return torch.autograd.gradcheck(lambda features: Pool.apply(features, rows, num_rows, stride), (features.requires_grad_(),))


def resources(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = [Point(**{**point, "dtype": getattr(torch, point["dtype"])}) for point in points]
    return [asdict(row) for point in made for row in compile_kernels(point)]


def occupancy(**settings: int) -> float:
    return occupancy_percent(**settings)


def failed_comparisons(*, wrong: bool, only_float32: bool) -> list[str]:
    """The trial of the kernels themselves, on CPU tensors, in sentences. `wrong`: the temperature is off by 0.1 %."""

    def contrast_either_way(
        features: Tensor, instances: Tensor, row_of: Tensor, candidates: Tensor, excluded: Tensor, weight: Tensor, temperature: float, *settings: Any
    ) -> tuple[Tensor, ...]:
        stride, fused, want_gradient = settings
        if not fused:
            return mask_contrast_op(features, instances, row_of, candidates, excluded, weight, temperature, stride, False, want_gradient)
        loss, correct, gradient = contrast(
            features_BDhw=features.detach(),
            targets_BHW=pixel_targets(instances, row_of_BO=row_of),
            candidates_ND=candidates,
            excluded_PN=excluded,
            weight_P=weight,
            temperature=temperature * (1.001 if wrong else 1),
            stride=stride,
        )
        return loss + ((features - features.detach()) * gradient).sum(), correct, gradient

    def pool_either_way(features: Tensor, instances: Tensor, max_objects: int, stride: int, fused: bool) -> tuple[Tensor, Tensor]:
        if not fused:
            return mask_pool_op(features, instances, max_objects, stride, False)
        rows, num_rows = pool_rows(instances, max_objects=max_objects), len(features) * max_objects
        return Pool.apply(features, rows, num_rows, stride), pool_triton(features, rows, num_rows=num_rows, stride=stride)[1]

    dtypes = trial.DTYPES[:1] if only_float32 else trial.DTYPES
    with mock.patch.object(trial, "DTYPES", dtypes):
        found = trial.Trial(contrast=contrast_either_way, pool=pool_either_way).run(torch.device("cpu"))
    return [str(comparison) for comparison in found if not comparison.holds]

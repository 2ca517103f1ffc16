"""The Triton kernels of mask pooling, through Triton's interpreter: values, gradients, edges, repeatability."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mcdist.ops.tolerance import TOLERANCE
from tests.ops.contrast_case import make_case
from tests.ops.kernels.triton_operands import distance, plain_pool
from tests.ops.naive_contrast import naive_pool

Call = Callable[..., Any]


def pool_operands(seed: int, *, num_objects: int = 3, dtype: torch.dtype = torch.float64, **sizes: int) -> dict[str, Any]:
    case = make_case(seed, num_objects=num_objects, **sizes)
    B, num_rows = len(case.features), len(case.features) * num_objects
    rows = torch.where(case.instances >= 1, case.instances.int() - 1 + num_objects * torch.arange(B, dtype=torch.int32)[:, None, None], -1)
    dsums = torch.randn(num_rows, case.features.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    summing = torch.promote_types(dtype, torch.float32)
    return {
        "features": case.features.to(dtype),
        "rows": rows,
        "num_rows": num_rows,
        "stride": rows.shape[1] // case.features.shape[2],
        "dsums": dsums.to(summing),
    }


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_objects": 1, "B": 3},
        {"stride": 1, "h": 4},
        {"stride": 3},
        {"stride": 8, "h": 1, "D": 33},
        {"stride": 14, "h": 1, "w": 1},
        {"stride": 16, "h": 1, "w": 1, "B": 1},
        {"stride": 24, "h": 1, "w": 1, "B": 1},
        {"D": 200, "h": 1},
        {"num_objects": 12, "B": 1},
    ],
    ids=str,
)
def test_sums_counts_and_gradient_are_those_of_plain_torch(call: Call, sizes: dict[str, Any]) -> None:
    operands = pool_operands(1, **sizes)
    for got, want in zip(call("pool", **operands), plain_pool(**operands), strict=True):
        torch.testing.assert_close(got, want, **TOLERANCE[torch.float64])


def test_prototypes_are_those_of_the_naive_loop(call: Call) -> None:
    case, operands = make_case(2), pool_operands(2)
    prototypes, counts = naive_pool(case.features.numpy(), case.instances.numpy(), 3)
    sums, num_pixels, _ = call("pool", **operands)
    np.testing.assert_allclose(F.normalize(sums, dim=1).numpy(), prototypes, atol=1e-12)
    assert num_pixels.tolist() == counts.tolist()
    assert num_pixels.dtype == torch.int64


def test_the_gradient_passes_gradcheck(call: Call) -> None:
    operands = pool_operands(3, B=1, D=2, h=1, w=2, stride=2, num_objects=2)
    del operands["dsums"]
    assert call("pool_gradcheck", **operands)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_error_is_no_larger_than_twice_that_of_plain_torch(call: Call, dtype: torch.dtype) -> None:
    operands = pool_operands(4, D=16, dtype=dtype)
    got = call("pool", **operands)
    in_float32 = {**operands, "features": operands["features"].float()}
    plain, truth = plain_pool(**in_float32), plain_pool(**{**operands, "features": operands["features"].double(), "dsums": operands["dsums"].double()})
    for place in (0, 2):
        assert got[place].dtype == torch.float32
        assert distance(got[place], truth[place]) <= 2 * distance(plain[place], truth[place]) + 1e-7


def test_an_object_without_pixels_is_zero(call: Call) -> None:
    operands = pool_operands(5)
    operands["rows"][operands["rows"] == 1] = -1
    sums, num_pixels, _ = call("pool", **operands)
    assert int(num_pixels[1]) == 0
    assert not sums[1].any()
    assert num_pixels[0] > 0


def test_without_any_object_all_is_zero(call: Call) -> None:
    operands = pool_operands(6)
    operands["rows"].fill_(-1)
    for result in call("pool", **operands):
        assert not result.any()


def test_nan_reaches_only_the_objects_that_it_lies_in(call: Call) -> None:
    operands = pool_operands(7, B=2, h=2, w=6, num_objects=2)
    operands["rows"][0, :, :8], operands["rows"][0, :, 8:16], operands["rows"][0, :, 16:] = 0, -1, 1
    clean = call("pool", **operands)
    operands["features"][0, :, :, 0] = torch.nan
    dirty = call("pool", **operands)
    assert dirty[0][0].isnan().all()
    assert torch.equal(dirty[0][1:], clean[0][1:])
    assert torch.equal(dirty[1], clean[1])
    assert torch.equal(dirty[2][0, :, :, 3:], clean[2][0, :, :, 3:])
    assert torch.equal(dirty[2][1], clean[2][1])


def test_a_vector_without_a_direction_adds_nothing_and_passes_no_gradient(call: Call) -> None:
    operands = pool_operands(8, B=1, h=1, w=1)
    operands["features"].zero_()
    sums, num_pixels, gradient = call("pool", **operands)
    assert not sums.any()
    assert num_pixels.sum() > 0
    assert not gradient.any()


def test_two_calls_agree_bit_for_bit(call: Call) -> None:
    operands = pool_operands(9, h=3, w=3, dtype=torch.float32)
    for first, second in zip(call("pool", **operands), call("pool", **operands), strict=True):
        assert torch.equal(first, second)

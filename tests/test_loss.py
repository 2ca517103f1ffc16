"""The saliency term against the naive loop, and the counts that ranks sum."""

import math

import pytest
import torch

from mcdist.loss import pixel_counts, saliency_counts, saliency_loss, target_weights
from mcdist.ops.tolerance import TOLERANCE
from tests.makers.unchecked import unchecked
from tests.ops.naive_contrast import naive_saliency


def operands(seed: int, *, B: int = 2, h: int = 3, w: int = 2, stride: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    instances = torch.randint(-1, 3, (B, h * stride, w * stride), generator=generator, dtype=torch.int16)
    return torch.randn(B, 1, h, w, dtype=torch.float64, generator=generator), instances


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sizes", [{}, {"stride": 8, "w": 1}, {"stride": 16, "h": 1, "B": 1}, {"stride": 1, "h": 7}], ids=str)
def test_the_saliency_loss_is_that_of_the_naive_loop(sizes: dict, dtype: torch.dtype) -> None:
    logits, instances = operands(1, **sizes)
    want = torch.tensor(naive_saliency(logits.numpy(), instances.numpy()), dtype=torch.float64)
    torch.testing.assert_close(saliency_loss(logits.to(dtype), instances).double(), want, **TOLERANCE[dtype])


def test_the_saliency_loss_passes_gradcheck() -> None:
    logits, instances = operands(2)
    assert torch.autograd.gradcheck(lambda logits: saliency_loss(logits, instances), (logits.requires_grad_(),))


def test_logits_far_out_keep_the_saliency_loss_finite() -> None:
    logits, instances = operands(3)
    assert saliency_loss(logits.float() * 1e4, instances).isfinite()


def test_half_precision_logits_are_weighed_in_float32() -> None:
    logits, instances = operands(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = saliency_loss(logits.bfloat16(), instances)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), saliency_loss(logits.bfloat16().double(), instances), **TOLERANCE[torch.float32])


@pytest.mark.parametrize("only", [-1, 0, 1])
def test_one_class_alone_or_void_alone_gives_zero_loss_and_gradient(only: int) -> None:
    logits, instances = operands(5)
    logits.requires_grad_()
    loss = saliency_loss(logits, torch.full_like(instances, only))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0.0
    assert not gradient.any()


def test_the_shares_of_two_ranks_with_global_counts_sum_to_the_whole() -> None:
    logits, instances = operands(6, B=3)
    counts = [saliency_counts(instances[share]) for share in (slice(0, 1), slice(1, 3))]
    positive, negative = (sum(numbers) for numbers in zip(*counts, strict=True))
    parts = [saliency_loss(logits[share], instances[share], num_positive=positive, num_negative=negative) for share in (slice(0, 1), slice(1, 3))]
    torch.testing.assert_close(sum(parts), saliency_loss(logits, instances), **TOLERANCE[torch.float64])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_positive": torch.tensor(3)}, "num_positive and num_negative must be given together"),
        ({"num_positive": torch.tensor(3), "num_negative": torch.tensor(3, device="meta")}, "num_negative must be on cpu"),
        ({"num_positive": torch.tensor(3.0), "num_negative": torch.tensor(3)}, "num_positive must be integer"),
        ({"logits_B1hw": torch.zeros(2, 2, 3, 2)}, "one saliency logit a pixel"),
        ({"instances_BHW": torch.zeros(2, 12, 9, dtype=torch.int16)}, "one integer s, got 12 x 9"),
    ],
)
def test_operands_that_do_not_fit_are_refused_by_name(changes: dict, message: str) -> None:
    """Without the run-time type check of the tests, which refuses some of them first."""
    logits, instances = operands(7)
    with pytest.raises(ValueError, match=message):
        unchecked(saliency_loss)(**{"logits_B1hw": logits, "instances_BHW": instances, **changes})


def test_pixels_are_counted_by_target_and_not_where_they_take_no_part() -> None:
    instances = torch.tensor([[[-1, 0, 1, 1], [2, 2, 2, 3]], [[1, 1, 1, 1], [2, 4, 4, 0]]], dtype=torch.int16)
    target_of = torch.tensor([[3, 0, 9], [3, -1, 1]])
    assert pixel_counts(instances, target_of=target_of, num_prototypes=5).tolist() == [3, 0, 0, 6, 0]
    valid = torch.tensor([False, True, True, True, True])
    assert pixel_counts(instances, target_of=target_of, num_prototypes=5, prototype_valid=valid).tolist() == [0, 0, 0, 6, 0]


def test_rare_targets_weigh_more() -> None:
    weight, weight_sum = target_weights(torch.tensor([30, 10, 0]))
    want = [1 / math.log(1.02 + share) for share in (0.75, 0.25, 0.0)]
    assert weight.tolist() == pytest.approx(want, rel=1e-6)
    assert float(weight_sum) == pytest.approx(30 * want[0] + 10 * want[1], rel=1e-6)


def test_no_pixel_anywhere_gives_finite_weights_and_no_sum() -> None:
    weight, weight_sum = target_weights(torch.zeros(3, dtype=torch.int64))
    assert weight.isfinite().all()
    assert float(weight_sum) == 0.0

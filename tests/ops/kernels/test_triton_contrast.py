"""The Triton kernels of the contrastive loss, through Triton's interpreter: values, gradients, edges, repeatability."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mcdist.ops.tolerance import TOLERANCE
from tests.ops.contrast_case import Case, make_case
from tests.ops.kernels.triton_operands import Operands, contrast_operands, distance, in_dtype, plain_contrast
from tests.ops.naive_contrast import naive_contrast

ROUNDING = torch.finfo(torch.float32).eps / 2
SOME_VALID = torch.tensor([True, False, True, True, True, False, True, True])

Call = Callable[..., Any]


def agrees_with_plain_torch(call: Call, operands: Operands) -> None:
    got, want = call("contrast", **operands), plain_contrast(operands)
    torch.testing.assert_close(got[0], want[0], **TOLERANCE[torch.float64])
    assert int(got[1]) == int(want[1])
    torch.testing.assert_close(got[2], want[2], **TOLERANCE[torch.float64])


CASES = {
    "several objects": make_case(1),
    "one object": make_case(2, B=1, D=3, h=2, w=5, num_objects=1),
    "stride 1": make_case(3, stride=1, h=4, w=3),
    "stride 3": make_case(4, stride=3, h=1, w=4),
    "stride 8": make_case(5, B=1, stride=8, h=2, w=1, D=17),
    "stride 14": make_case(6, B=1, stride=14, h=1, w=1),
    "stride 16": make_case(7, B=1, stride=16, h=1, w=1, D=2),
    "more pixels than one program's": make_case(8, B=1, stride=24, h=1, w=1, num_bank=0),
    "candidates of several tiles": make_case(9, B=1, h=2, w=2, num_bank=150, temperature=0.07),
    "exactly one tile": make_case(10, B=1, num_objects=1, num_other=2, num_bank=61),
    "temperature 0.01": make_case(11, temperature=0.01),
    "temperature 10": make_case(12, temperature=10.0),
    "rows that are not valid": make_case(13, prototype_valid=SOME_VALID, bank_valid_rows=2),
    "empty bank": make_case(14, bank_valid_rows=0),
    "exclusions by target": make_case(15, prototype_valid=SOME_VALID, bank_valid_rows=70, num_bank=75, false_negative_cosine=0.2),
    "exclusions by target at 0.01": make_case(16, temperature=0.01, false_negative_cosine=-0.3),
    "long vectors": make_case(17, B=1, h=2, w=1, D=150),
    "objects without a target": make_case(18, B=1, num_objects=2, target_of=torch.tensor([[1, -1]])),
    "two objects of one target": make_case(19, B=1, num_objects=2, num_other=0, target_of=torch.tensor([[1, 1]])),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_loss_correct_and_gradient_are_those_of_plain_torch(call: Call, case: Case) -> None:
    agrees_with_plain_torch(call, contrast_operands(case))


def test_the_loss_is_that_of_the_naive_loop(call: Call) -> None:
    case = make_case(20, h=2, prototype_valid=SOME_VALID, bank_valid_rows=3, false_negative_cosine=0.3)
    operands = contrast_operands(case)
    operands_of_loop, options = case.numpy()
    want = naive_contrast(*operands_of_loop, **options, target_weight=operands["weight_P"].numpy(), weight_sum=1.0)
    loss, correct, _ = call("contrast", **operands)
    assert float(loss) == pytest.approx(want[0], rel=1e-12)
    assert int(correct) == want[1]


def test_a_single_candidate_costs_nothing(call: Call) -> None:
    operands = contrast_operands(make_case(21, B=1, num_objects=1, num_other=0, num_bank=0, target_of=torch.tensor([[0]])))
    loss, correct, gradient = call("contrast", **operands)
    assert float(loss) == 0
    assert int(correct) == int((operands["targets_BHW"] >= 0).sum()) > 0
    assert gradient.abs().max() < 1e-15


@pytest.mark.parametrize("options", [{}, {"false_negative_cosine": 0.1}, {"temperature": 0.02}])
def test_the_gradient_passes_gradcheck(call: Call, options: dict[str, Any]) -> None:
    operands = contrast_operands(make_case(22, B=1, D=2, h=1, w=2, stride=2, num_objects=2, prototype_valid=SOME_VALID[2:6], bank_valid_rows=2, **options))
    assert call("contrast_gradcheck", **operands)


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.5, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_error_is_no_larger_than_twice_that_of_plain_torch(call: Call, dtype: torch.dtype, temperature: float) -> None:
    """Or, where that is more, than what rounding logits of size 1 / T costs: the interpreter's products are numpy's, and their rounding is its BLAS's."""
    errors = {"loss": torch.zeros(2), "gradient": torch.zeros(2)}
    for seed in range(3):
        operands = in_dtype(contrast_operands(make_case(seed, D=16, h=2, w=2, num_bank=20, temperature=temperature)), dtype)
        got, plain, truth = call("contrast", **operands), plain_contrast(operands, dtype=torch.float32), plain_contrast(operands)
        assert got[0].dtype == got[2].dtype == torch.float32
        for place, name in ((0, "loss"), (2, "gradient")):
            errors[name] += torch.tensor([distance(result[place], truth[place]) ** 2 for result in (got, plain)])
    for kernel, plain in (error.div(3).sqrt().tolist() for error in errors.values()):
        assert kernel <= max(2 * plain + 1e-7, ROUNDING / temperature)


def test_the_strides_of_the_features_do_not_matter(call: Call) -> None:
    operands = contrast_operands(make_case(23, D=4))
    for features in (operands["features_BDhw"].contiguous(memory_format=torch.channels_last), operands["features_BDhw"].repeat(1, 2, 2, 2)[:, ::2, 3:, 2:]):
        agrees_with_plain_torch(call, {**operands, "features_BDhw": features})


def test_without_any_object_all_is_zero(call: Call) -> None:
    case = make_case(24)
    loss, correct, gradient = call("contrast", **contrast_operands(replace(case, instances=case.instances.clamp(max=0))))
    assert (float(loss), int(correct)) == (0, 0)
    assert gradient.shape == case.features.shape
    assert not gradient.any()


def test_a_gradient_that_is_not_wanted_is_not_made(call: Call) -> None:
    operands = contrast_operands(make_case(25))
    loss, correct, gradient = call("contrast", **operands, want_gradient=False)
    wanted = call("contrast", **operands)
    assert gradient.numel() == 0
    assert (loss, correct) == wanted[:2]


def test_what_lies_far_from_every_object_does_not_matter(call: Call) -> None:
    case = make_case(26, B=2, h=2, w=5)
    case.instances[:, :, 4:] = 0
    case.instances[1] = -1
    clean = call("contrast", **contrast_operands(case))
    case.features[:, :, :, 2:] = torch.nan
    case.features[1] = torch.inf
    for got, want in zip(call("contrast", **contrast_operands(case)), clean, strict=True):
        assert torch.equal(got, want)


def test_nan_in_an_object_gives_nan(call: Call) -> None:
    case = make_case(27)
    case.features[0, 1, 1, 1] = torch.nan
    loss, _, gradient = call("contrast", **contrast_operands(case))
    assert loss.isnan()
    assert gradient[0].isnan().any()


def test_a_vector_without_a_direction_gives_a_finite_loss_and_no_gradient(call: Call) -> None:
    case = make_case(28, B=1, h=1, w=1)
    case.features.zero_()
    loss, _, gradient = call("contrast", **contrast_operands(case))
    assert loss > 0
    assert not gradient.any()


def test_the_first_of_equal_candidates_is_the_best(call: Call) -> None:
    case = make_case(29, B=1, num_objects=1, num_other=1, num_bank=2, target_of=torch.tensor([[0]]))
    case.prototypes[1] = case.prototypes[0]
    case.bank[:] = -case.prototypes[0]
    first = call("contrast", **contrast_operands(case))
    second = call("contrast", **contrast_operands(replace(case, options={**case.options, "target_of": torch.tensor([[1]])})))
    assert int(first[1]) > 0
    assert int(second[1]) == 0
    assert torch.isclose(first[0] / 0.5, second[0] / 2)


def test_two_calls_agree_bit_for_bit(call: Call) -> None:
    operands = in_dtype(contrast_operands(make_case(30, h=4, w=4)), torch.float32)
    for first, second in zip(call("contrast", **operands), call("contrast", **operands), strict=True):
        assert torch.equal(first, second)

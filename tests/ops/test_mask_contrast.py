"""The contrastive loss against the naive float64 loop: values, gradients, edges."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.choices import Implementation
from mcdist.loss import pixel_counts, target_weights
from mcdist.ops import mask_contrast
from mcdist.ops.cells import CHUNK_BYTES
from mcdist.ops.tolerance import TOLERANCE
from tests.ops.contrast_case import Case, make_case
from tests.ops.naive_contrast import naive_contrast

EACH = pytest.mark.parametrize("implementation", ["reference", "compact", "fused"])
SOME_VALID = torch.tensor([True, False, True, True, True, False, True, True])


def agrees_with_naive(case: Case, implementation: Implementation, dtype: torch.dtype = torch.float64) -> None:
    operands, options = case.numpy()
    loss, correct, num_pixels = naive_contrast(*operands, **options)
    got = case.to(dtype=dtype).run(implementation=implementation)
    torch.testing.assert_close(got[0].double(), torch.tensor(loss, dtype=torch.float64), **TOLERANCE[dtype])
    assert got[1:3] == (correct, num_pixels)
    assert num_pixels > 0


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "case",
    [
        make_case(1),
        make_case(2, B=1, D=3, h=2, w=5, num_objects=1),
        make_case(3, stride=8, h=2, w=1),
        make_case(4, B=1, stride=16, h=1, w=1),
        make_case(5, stride=3, h=1, w=4),
        make_case(6, stride=1, h=4, w=3),
        make_case(7, num_bank=0),
        make_case(8, bank_valid_rows=2),
        make_case(9, bank_valid_rows=0),
        make_case(10, bank_valid_rows=torch.tensor(3)),
        make_case(11, prototype_valid=SOME_VALID),
        make_case(12, prototype_valid=SOME_VALID, bank_valid_rows=1, false_negative_cosine=0.2),
        make_case(13, D=2, false_negative_cosine=-0.3),
        make_case(14, temperature=0.07),
        make_case(15, temperature=0.01),
        make_case(16, temperature=10.0),
        make_case(17, target_weight=torch.rand(8, dtype=torch.float64), weight_sum=torch.tensor(40.0, dtype=torch.float64)),
        make_case(18, target_weight=torch.rand(8, dtype=torch.float64)),
        make_case(19, B=1, num_objects=2, target_of=torch.tensor([[1, -1]])),
        make_case(20, B=1, num_objects=2, target_of=torch.tensor([[0, 99]])),
        make_case(21, B=1, num_objects=3, target_of=torch.tensor([[2]], dtype=torch.int32)),
        make_case(22, B=1, num_objects=2, num_other=0, target_of=torch.tensor([[1, 1]])),
    ],
    ids=range(1, 23),
)
def test_the_loss_is_that_of_the_naive_loop(case: Case, implementation: Implementation, dtype: torch.dtype) -> None:
    agrees_with_naive(case, implementation, dtype)


@EACH
def test_the_gradient_is_that_of_the_naive_loop(implementation: Implementation) -> None:
    case = make_case(30, B=1, D=3, h=2, w=2, stride=4, prototype_valid=SOME_VALID[:5], bank_valid_rows=3, false_negative_cosine=0.4)
    gradient = case.run(implementation=implementation)[3]
    operands, options = case.numpy()
    features, step = operands[0], 1e-6
    for index in range(features.size):
        values = []
        for sign in (1, -1):
            moved = features.copy()
            moved.flat[index] += sign * step
            values.append(naive_contrast(moved, *operands[1:], **options)[0])
        assert float(gradient.flatten()[index]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


@EACH
@pytest.mark.parametrize("options", [{}, {"false_negative_cosine": 0.1}, {"temperature": 0.02}])
def test_the_gradient_passes_gradcheck(implementation: Implementation, options: dict) -> None:
    case = make_case(31, B=2, D=3, h=2, w=3, stride=2, num_objects=2, prototype_valid=SOME_VALID[:6], bank_valid_rows=2, **options)

    def loss_of(features: torch.Tensor) -> torch.Tensor:
        return mask_contrast(features, case.instances, case.prototypes, case.bank, implementation=implementation, **case.options).loss

    assert torch.autograd.gradcheck(loss_of, (case.features.clone().requires_grad_(),))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    B=st.integers(1, 3),
    D=st.integers(1, 9),
    h=st.integers(1, 4),
    w=st.integers(1, 4),
    stride=st.sampled_from([1, 2, 4, 8]),
    num_objects=st.integers(1, 4),
    num_bank=st.sampled_from([0, 1, 5, 40, 700]),
    false_negative_cosine=st.sampled_from([None, 0.5]),
    temperature=st.sampled_from([0.01, 0.07, 0.5, 10.0]),
    weighted=st.booleans(),
)
def test_all_implementations_agree(seed: int, weighted: bool, **sizes: Any) -> None:
    case = make_case(seed, **sizes)
    if weighted:
        generator = torch.Generator().manual_seed(seed)
        case.options["target_weight"] = torch.rand(len(case.prototypes), dtype=torch.float64, generator=generator)
    dense = case.run(implementation="reference")
    for implementation in ("compact", "fused"):
        got = case.run(implementation=implementation)
        assert got[1:3] == dense[1:3]
        torch.testing.assert_close(got[0], dense[0], **TOLERANCE[torch.float64])
        torch.testing.assert_close(got[3], dense[3], rtol=1e-7, atol=1e-9)


@EACH
def test_cutting_the_work_into_pieces_changes_nothing(implementation: Implementation, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(32, B=3, h=5, w=3)
    whole = case.run(implementation=implementation)
    monkeypatch.setattr("mcdist.ops.upsample.BAND_BYTES", 1)
    monkeypatch.setitem(CHUNK_BYTES, "cpu", 1)
    pieces = case.run(implementation=implementation)
    assert pieces[1:3] == whole[1:3]
    torch.testing.assert_close(pieces[0], whole[0], **TOLERANCE[torch.float64])
    torch.testing.assert_close(pieces[3], whole[3], **TOLERANCE[torch.float64])


@EACH
@pytest.mark.parametrize("debug", [True, False])
def test_without_any_object_the_loss_and_its_gradient_are_zero(implementation: Implementation, debug: bool) -> None:
    case = make_case(33)
    case.instances.clamp_(max=0)
    loss, correct, num_pixels, gradient = case.run(implementation=implementation, debug=debug)
    assert (float(loss), correct, num_pixels) == (0.0, 0, 0)
    assert not gradient.any()


@EACH
def test_without_any_valid_candidate_the_loss_and_its_gradient_are_zero(implementation: Implementation) -> None:
    case = make_case(34, prototype_valid=torch.zeros(8, dtype=torch.bool), bank_valid_rows=0)
    loss, _, num_pixels, gradient = case.run(implementation=implementation)
    assert (float(loss), num_pixels) == (0.0, 0)
    assert not gradient.any()


@EACH
def test_what_lies_in_rows_that_are_not_valid_does_not_matter(implementation: Implementation) -> None:
    case = make_case(35, prototype_valid=SOME_VALID, bank_valid_rows=2)
    clean = case.run(implementation=implementation)
    case.prototypes[~SOME_VALID] = torch.nan
    case.bank[2:] = torch.nan
    dirty = case.run(implementation=implementation)
    assert dirty[1:3] == clean[1:3]
    torch.testing.assert_close(dirty[0], clean[0])
    torch.testing.assert_close(dirty[3], clean[3])


@EACH
def test_a_zero_feature_vector_gives_a_finite_loss_and_no_gradient_of_its_own(implementation: Implementation) -> None:
    case = make_case(36, B=1, h=1, w=1)
    case.features.zero_()
    loss, _, _, gradient = case.run(implementation=implementation)
    assert loss.isfinite()
    assert not gradient.any()


@EACH
def test_nan_features_of_an_object_give_a_nan_loss(implementation: Implementation) -> None:
    case = make_case(37)
    case.features[0, 0, 0, 0] = torch.nan
    assert case.run(implementation=implementation)[0].isnan()


@EACH
def test_gradient_flows_to_the_features_only(implementation: Implementation) -> None:
    case = make_case(38)
    prototypes, bank = case.prototypes.requires_grad_(), case.bank.requires_grad_()
    loss = mask_contrast(case.features.requires_grad_(), case.instances, prototypes, bank, implementation=implementation, **case.options).loss
    loss.backward()
    assert case.features.grad is not None
    assert prototypes.grad is None
    assert bank.grad is None


@EACH
def test_without_gradient_the_loss_is_the_same(implementation: Implementation) -> None:
    case = make_case(39)
    with torch.no_grad():
        result = mask_contrast(case.features, case.instances, case.prototypes, case.bank, implementation=implementation, **case.options)
    assert not result.loss.requires_grad
    torch.testing.assert_close(result.loss, case.run(implementation=implementation)[0])


@EACH
def test_half_precision_is_computed_in_float32_even_under_autocast(implementation: Implementation) -> None:
    case = make_case(40, D=16).to(dtype=torch.bfloat16)
    exact = case.to(dtype=torch.float64).run(implementation=implementation)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = case.run(implementation=implementation)
    assert got[0].dtype == torch.float32
    assert got[3].dtype == torch.bfloat16
    torch.testing.assert_close(got[0].double(), exact[0], **TOLERANCE[torch.float32])
    torch.testing.assert_close(got[3].double(), exact[3], **TOLERANCE[torch.bfloat16])


@EACH
@pytest.mark.parametrize("cut", [1, 2])
def test_the_shares_of_two_ranks_with_global_weights_sum_to_the_whole(implementation: Implementation, cut: int) -> None:
    case = make_case(41, B=3).to(dtype=torch.float32)
    whole = case.run(implementation=implementation)
    target_of = case.options["target_of"]
    shares = [slice(0, cut), slice(cut, 3)]
    counts = torch.stack([pixel_counts(case.instances[share], target_of=target_of[share], num_prototypes=len(case.prototypes)) for share in shares]).sum(dim=0)
    target_weight, weight_sum = target_weights(counts)
    parts = [
        Case(case.features[share], case.instances[share], case.prototypes, case.bank, {**case.options, "target_of": target_of[share]}).run(
            implementation=implementation, target_weight=target_weight, weight_sum=weight_sum
        )
        for share in shares
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0], **TOLERANCE[torch.float32])
    torch.testing.assert_close(torch.cat([part[3] for part in parts]), whole[3], **TOLERANCE[torch.float32])
    assert (parts[0][1] + parts[1][1], parts[0][2] + parts[1][2]) == whole[1:3]


@EACH
def test_of_equal_candidates_the_first_is_picked(implementation: Implementation) -> None:
    case = make_case(43, B=1, num_objects=1, num_other=1, num_bank=2, target_of=torch.tensor([[1]]))
    case.instances.fill_(1)
    case.features.copy_(case.prototypes[1, :, None, None])
    case.bank[0] = case.prototypes[1]
    _, correct, num_pixels, _ = case.run(implementation=implementation)
    assert correct == num_pixels == case.instances.numel()
    case.prototypes[0] = case.prototypes[1]
    assert case.run(implementation=implementation)[1] == 0


def test_auto_runs_on_every_device(device: torch.device) -> None:
    case = make_case(42)
    want, got = case.run(implementation="reference"), case.to(device).run()
    torch.testing.assert_close(got[3].cpu(), want[3], rtol=1e-7, atol=1e-9)

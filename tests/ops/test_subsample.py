"""Which pixels of an object take part: so many, at random, and the same wherever they are asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.loss import pixel_counts, target_weights
from mcdist.ops import mask_contrast
from mcdist.ops.subsample import subsample
from mcdist.ops.targets import object_pixels
from tests.makers.unchecked import unchecked
from tests.ops.contrast_case import make_case


def ring(B: int = 2, side: int = 40) -> torch.Tensor:
    """Object 1 with many pixels, object 2 with three, void and background around."""
    instances = torch.zeros(B, side, side, dtype=torch.int16)
    instances[:, 5:30, 5:30] = 1
    instances[:, 0, :3] = 2
    instances[:, -1] = -1
    return instances


@settings(max_examples=40)
@given(seed=st.integers(0, 2**40), pixels_per_object=st.integers(1, 700))
def test_exactly_so_many_pixels_of_each_object_stay_and_nothing_else_changes(seed: int, pixels_per_object: int) -> None:
    before = ring()
    after = subsample(before, num_objects=2, pixels_per_object=pixels_per_object, seed=seed)
    assert torch.equal(object_pixels(after, num_objects=2), object_pixels(before, num_objects=2, at_most=pixels_per_object))
    assert torch.equal(after[before < 1], before[before < 1])
    changed = after != before
    assert (before[changed] >= 1).all()
    assert (after[changed] == -1).all()


def test_every_pixel_is_as_likely_as_any_other() -> None:
    before = ring(B=1)
    times = torch.stack([subsample(before, num_objects=2, pixels_per_object=125, seed=seed) == 1 for seed in range(400)]).sum(dim=0)
    chosen = times[before == 1].double() / 400
    assert float(chosen.mean()) == pytest.approx(0.2)
    assert float(chosen.std()) == pytest.approx((0.2 * 0.8 / 400) ** 0.5, rel=0.15)


def test_another_seed_chooses_other_pixels_and_the_same_seed_the_same() -> None:
    first, again, other = (subsample(ring(), num_objects=2, pixels_per_object=50, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_with_a_seed_an_image_the_choice_does_not_depend_on_which_images_share_a_call() -> None:
    before, seeds = ring(B=3), torch.tensor([7, 100, -3])
    together = subsample(before, num_objects=2, pixels_per_object=20, seed=seeds)
    apart = [subsample(before[i : i + 1], num_objects=2, pixels_per_object=20, seed=seeds[i : i + 1]) for i in (0, 1, 2)]
    assert torch.equal(together, torch.cat(apart))
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("implementation", ["reference", "compact", "fused"])
def test_the_loss_is_that_of_the_chosen_pixels_alone(implementation: str) -> None:
    case = make_case(80, stride=8)
    chosen = subsample(case.instances, num_objects=3, pixels_per_object=9, seed=5)
    want = make_case(80, stride=8)
    want.instances.copy_(chosen)
    want_loss, want_correct, want_pixels, want_gradient = want.run(implementation=implementation)
    loss, correct, num_pixels, gradient = case.run(implementation=implementation, pixels_per_object=9, seed=5)
    assert (correct, num_pixels) == (want_correct, want_pixels)
    torch.testing.assert_close(loss, want_loss)
    torch.testing.assert_close(gradient, want_gradient)


def test_weights_from_the_caller_s_own_counts_are_those_of_the_chosen_pixels() -> None:
    case = make_case(81)
    counts = pixel_counts(case.instances, target_of=case.options["target_of"], num_prototypes=8, pixels_per_object=7)
    weight, weight_sum = target_weights(counts)
    given_weights = case.run(pixels_per_object=7, target_weight=weight.double(), weight_sum=weight_sum.double())
    torch.testing.assert_close(given_weights[0], case.run(pixels_per_object=7)[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels_per_object": 0}, "pixels_per_object must be >= 1, or None for all pixels, got 0"),
        ({"pixels_per_object": 3, "seed": torch.zeros(5, dtype=torch.int64)}, "seed must have 2 entries"),
        ({"pixels_per_object": 3, "seed": torch.zeros(2)}, "seed must be integer"),
    ],
)
def test_a_count_or_a_seed_that_does_not_fit_is_refused(options: dict, message: str) -> None:
    """Without the run-time type check of the tests, which refuses some of them first."""
    case = make_case(82)
    with pytest.raises(ValueError, match=message):
        unchecked(mask_contrast)(case.features, case.instances, case.prototypes, case.bank, **{**case.options, **options})

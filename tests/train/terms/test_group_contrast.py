"""The contrast with prototypes of groups: a loop over pixels in float64, its gradient, and every implementation of the operator behind it."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mcdist.choices import Implementation
from mcdist.data.batch import Batch
from mcdist.train.terms import GroupTargets, group_contrast_term
from tests.train.terms.small_case import batch_with, embedded_with, given
from tests.train.terms.test_group import NUM_GROUPS, make_case

IMPLEMENTATIONS: tuple[Implementation, ...] = ("reference", "compact", "fused")


def make_contrast() -> tuple[Batch, GroupTargets, Tensor]:
    """As `make_case`, with prototypes; the second group of the first set is not known and holds what no candidate may hold."""
    batch, targets, _ = make_case()
    prototypes = F.normalize(torch.randn(sum(NUM_GROUPS), 4, dtype=torch.float64), dim=1)
    known = torch.tensor([True, False, True, True, True])
    prototypes[1] = torch.nan
    return batch, GroupTargets(NUM_GROUPS, targets.of, prototypes, known), torch.randn(4, 4, 3, 3, dtype=torch.float64)


def by_pixels(batch: Batch, targets: GroupTargets, features: Tensor) -> tuple[float, int, int]:
    """(loss, correct, pixels) of a loop."""
    assert targets.prototypes is not None and targets.known is not None
    pixels = F.normalize(F.interpolate(features, size=batch.query_instances.shape[1:], mode="bilinear"), dim=1)
    losses, correct, num_pixels = [], 0, 0
    for place, (prototypes, known) in enumerate(zip(targets.prototypes.split(list(NUM_GROUPS)), targets.known.split(list(NUM_GROUPS)), strict=True)):
        candidates = known.nonzero().flatten().tolist()
        asked = []
        for (photo, y, x), number in zip(torch.cartesian_prod(*map(torch.arange, batch.query_instances.shape)), batch.query_instances.flatten(), strict=True):
            group = int(targets.of[photo, number - 1, place]) if number > 0 else -1
            if group in candidates:
                z = torch.stack([pixels[photo, :, y, x] @ prototypes[candidate] for candidate in candidates]) / 0.5
                asked.append((group, float(torch.logsumexp(z, 0) - z[candidates.index(group)]), int(z.argmax()) == candidates.index(group)))
        counts = {group: sum(1 for other, *_ in asked if other == group) for group, *_ in asked}
        weight = {group: 1 / log(1.02 + count / len(asked)) for group, count in counts.items()}
        losses.append(sum(weight[group] * loss for group, loss, _ in asked) / sum(weight[group] for group, *_ in asked))
        correct, num_pixels = correct + sum(right for *_, right in asked), num_pixels + len(asked)
    return sum(losses) / len(losses), correct, num_pixels


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_loss_and_the_counts_are_those_of_a_loop_over_pixels(implementation: Implementation) -> None:
    batch, targets, features = make_contrast()
    got = group_contrast_term(embedded_with(features=features), batch, *given(batch, targets), temperature=0.5, implementation=implementation)
    loss, correct, num_pixels = by_pixels(batch, targets, features)
    assert float(got.loss) == pytest.approx(loss, rel=1e-6)  # the weights are float32
    assert (int(got.counts["correct"]), int(got.counts["num_pixels"])) == (correct, num_pixels)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_its_gradient_is_right(implementation: Implementation) -> None:
    batch, targets, features = make_contrast()
    arguments = given(batch, targets)

    def loss(maps: Tensor) -> Tensor:
        return group_contrast_term(embedded_with(features=maps), batch, *arguments, temperature=0.5, implementation=implementation).loss

    assert torch.autograd.gradcheck(loss, features.requires_grad_())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_few_pixels_of_each_object_are_the_same_in_every_implementation(implementation: Implementation) -> None:
    batch, targets, features = make_contrast()
    arguments = given(batch, targets, pixels_per_object=5)
    got, want = (
        group_contrast_term(embedded_with(features=features), batch, *arguments, temperature=0.5, implementation=name) for name in (implementation, "reference")
    )
    assert float(got.loss) == pytest.approx(float(want.loss), rel=1e-9)
    assert int(got.counts["num_pixels"]) == int(want.counts["num_pixels"]) < by_pixels(batch, targets, features)[2]


def test_without_a_known_group_nothing_takes_part() -> None:
    batch, targets, features = make_contrast()
    assert targets.known is not None
    targets.known.fill_(False)
    features.requires_grad_()
    value = group_contrast_term(embedded_with(features=features), batch, *given(batch, targets), temperature=0.5, implementation="auto")
    value.loss.backward()
    assert float(value.loss.detach()) == 0.0 and features.grad is not None and not features.grad.any()


def test_two_objects_of_one_group_have_one_positive() -> None:
    instances = torch.ones(2, 8, 8, dtype=torch.int16)
    batch = batch_with(instances)
    prototypes = torch.eye(4, dtype=torch.float64)[:2]
    targets = GroupTargets((2,), torch.tensor([[[1]], [[1]]]), prototypes, torch.ones(2, dtype=torch.bool))
    features = prototypes[1][None, :, None, None].expand(2, 4, 2, 2).contiguous()
    value = group_contrast_term(embedded_with(features=features), batch, *given(batch, targets), temperature=0.5, implementation="auto")
    assert float(value.loss) == pytest.approx(log(1 + 2.718281828**-2), rel=1e-6)
    assert int(value.counts["correct"]) == 2 * 64

"""The group head's term against a loop over pixels in float64, its gradient, and what takes part in it."""

import pytest
import torch
from torch import Tensor

from mcdist.choices import GroupBalance
from mcdist.data.batch import Batch
from mcdist.train.terms import GroupTargets, group_term
from mcdist.train.terms.group import class_weights, object_shares
from tests.train.terms.small_case import batch_with, embedded_with, given

NUM_GROUPS = (3, 2)
STRIDE = 4
BALANCES: tuple[GroupBalance, ...] = ("none", "sqrt", "inverse")


def make_case() -> tuple[Batch, GroupTargets, Tensor]:
    """Four photos: ragged objects, two of one group, one without a group in the second set only; a photo of background alone; one that is void."""
    torch.manual_seed(3)
    instances = torch.zeros(4, 12, 12, dtype=torch.int16)
    instances[0, 1:7, 2:6], instances[0, 8:, :], instances[0, 0, :] = 1, 2, -1
    instances[1, :, :3], instances[1, 5:9, 3:7], instances[1, 10:, 5:] = 1, 2, 3
    instances[3] = -1
    of = torch.tensor([[[0, 1], [2, -1], [0, 0]], [[2, 0], [2, 1], [-1, 1]], [[1, 1], [1, 1], [1, 1]], [[0, 0], [0, 0], [0, 0]]])
    return batch_with(instances), GroupTargets(NUM_GROUPS, of), torch.randn(4, 3 + 1 + 2 + 1, 3, 3, dtype=torch.float64)


def by_pixels(batch: Batch, targets: GroupTargets, logits: Tensor, *, balanced: GroupBalance) -> float:
    """Every pixel asks the logits of its cell; the weights are those of cells, a pixel being 1 / stride^2 of one."""
    total, first = 0.0, 0
    for place, num in enumerate(targets.num_groups):
        log_p = torch.log_softmax(logits[:, first : first + num + 1], dim=1)
        first += num + 1
        asked = []
        for (photo, y, x), number in zip(torch.cartesian_prod(*map(torch.arange, batch.query_instances.shape)), batch.query_instances.flatten(), strict=True):
            group = -1 if number <= 0 else int(targets.of[photo, number - 1, place])
            if number == 0 or group >= 0:
                asked.append((0 if number == 0 else 1 + group, -float(log_p[photo, 0 if number == 0 else 1 + group, y // STRIDE, x // STRIDE])))
        cells = {label: sum(1 for other, _ in asked if other == label) / STRIDE**2 for label, _ in asked}
        weight = {label: {"none": 1.0, "sqrt": num_cells**-0.5, "inverse": 1 / num_cells}[balanced] for label, num_cells in cells.items()}
        total += sum(weight[label] * loss for label, loss in asked) / sum(weight[label] for label, _ in asked) if asked else 0.0
    return total / len(targets.num_groups)


@pytest.mark.parametrize("balanced", BALANCES)
def test_the_loss_is_that_of_a_loop_over_pixels(balanced: GroupBalance) -> None:
    batch, targets, logits = make_case()
    got = group_term(embedded_with(groups=logits), batch, *given(batch, targets), balanced=balanced)
    assert float(got.loss) == pytest.approx(by_pixels(batch, targets, logits, balanced=balanced), rel=1e-12)


@pytest.mark.parametrize("balanced", BALANCES)
def test_its_gradient_is_right(balanced: GroupBalance) -> None:
    batch, targets, logits = make_case()
    arguments = given(batch, targets)
    assert torch.autograd.gradcheck(lambda groups: group_term(embedded_with(groups=groups), batch, *arguments, balanced=balanced).loss, logits.requires_grad_())


def test_void_and_objects_without_a_group_have_no_gradient_and_an_empty_photo_is_background() -> None:
    batch, targets, logits = make_case()
    batch.query_instances[1] = 3  # of no group in the first set, of group 1 in the second
    logits.requires_grad_()
    group_term(embedded_with(groups=logits), batch, *given(batch, targets), balanced="none").loss.backward()
    gradient = logits.grad
    assert gradient is not None
    assert not gradient[3].any(), "a photo that is void"
    assert not gradient[1, :4].any() and gradient[1, 4:].all(), "an object without a group in one set"
    assert (gradient[2, [0, 4]] < 0).all() and (gradient[2, [1, 2, 3, 5, 6]] > 0).all(), "a photo of background alone"


def test_cells_that_name_the_largest_share_are_counted_and_predictions_too() -> None:
    batch, targets, logits = make_case()
    shares = object_shares(batch.query_instances, stride=STRIDE, num_slots=4)
    assert float(shares.sum()) == pytest.approx(int((batch.query_instances >= 0).sum()) / STRIDE**2)
    logits.zero_()
    logits[:, 0], logits[:, 5] = 1, 1  # background in the first set, group 0 in the second
    value = group_term(embedded_with(groups=logits), batch, *given(batch, targets), balanced="none")
    assert [cells.tolist() for cells in value.predicted] == [[36, 0, 0, 0], [0, 36, 0]]
    right = 0
    for place, named in enumerate((0, 1)):  # classes: the background, then the groups
        for photo, cell in torch.cartesian_prod(torch.arange(4), torch.arange(9)).tolist():
            mass = [0.0] * (NUM_GROUPS[place] + 1)
            for slot, group in enumerate([-2, *targets.of[photo, :, place].tolist()]):
                if group != -1:
                    mass[max(0, group + 1)] += float(shares[photo, slot, cell])
            right += sum(mass) > 0 and mass.index(max(mass)) == named
    assert int(value.counts["correct"]) == right
    assert 0 < right < int(value.counts["num_cells"])


def test_a_batch_of_void_has_no_loss_and_no_gradient() -> None:
    batch, targets, logits = make_case()
    batch.query_instances.fill_(-1)
    logits.requires_grad_()
    value = group_term(embedded_with(groups=logits), batch, *given(batch, targets), balanced="inverse")
    value.loss.backward()
    assert float(value.loss.detach()) == 0.0 and logits.grad is not None and not logits.grad.any()
    assert int(value.counts["num_cells"]) == 0


def test_each_class_weighs_the_same_where_the_balance_is_inverse() -> None:
    cells = torch.tensor([100.0, 0.0, 4.0])
    assert (class_weights(cells, balanced="inverse") * cells).tolist() == pytest.approx([1, 0, 1])
    assert class_weights(cells, balanced="sqrt").tolist() == pytest.approx([0.1, 0, 0.5])
    assert class_weights(cells, balanced="none").tolist() == [1, 0, 1]


def test_half_precision_logits_are_computed_in_float32() -> None:
    batch, targets, logits = make_case()
    value = group_term(embedded_with(groups=logits.bfloat16()), batch, *given(batch, targets), balanced="inverse")
    assert value.loss.dtype == torch.float32
    want = group_term(embedded_with(groups=logits.bfloat16().double()), batch, *given(batch, targets), balanced="inverse")
    assert float(value.loss) == pytest.approx(float(want.loss), rel=1e-5)

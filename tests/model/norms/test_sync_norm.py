"""Normalisation over ranks: two gloo ranks with synchronised layers compute what one rank with all their images does."""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mcdist.choices import Norm
from mcdist.distributed import World
from mcdist.model.norms.convert import convert_norm
from mcdist.model.norms.sync import SyncBatchNorm2d, global_moments
from mcdist.ranks.join import join_world, leave_world
from tests.makers.collectives import Collectives
from tests.makers.many_ranks import on_ranks

PARTS = (slice(0, 2), slice(2, 6))
"""The images of each of two ranks; not equally many."""

KINDS = (("batch", True, False), ("shuffled", True, False), ("sync", True, True), ("group", False, False), ("frozen", False, False))
"""(kind, its output depends on this rank's other images, and on the other rank's)"""


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.BatchNorm2d(5)).double()


def images() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(6, 3, 7, 9, dtype=torch.float64) * 3 + 100


def loss_of(embedded: Tensor, part: slice) -> Tensor:
    torch.manual_seed(2)
    return (embedded.sin() * torch.randn(6, 5, 3, 5, dtype=torch.float64)[part]).sum()


def _on_a_rank(rank: int) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        _check_exactness(world)
        _check_the_evaluation_asks_nobody(world)
        _check_kinds(world)
    finally:
        leave_world()


def _check_exactness(world: World) -> None:
    """Output, input gradient, summed parameter gradients and running statistics, against BatchNorm2d over all images; two steps."""
    alone, ours = make_net(), make_net()
    convert_norm(ours, kind="sync", sum_over_ranks=world.sum_apart())
    ours = copy.deepcopy(ours)  # as build makes the key encoder
    part = PARTS[world.rank]
    for _ in range(2):
        whole, mine = images().requires_grad_(), images()[part].requires_grad_()
        loss_of(alone(whole), slice(None)).backward()
        with Collectives() as forward:
            embedded = ours(mine)
        with Collectives() as backward:
            loss_of(embedded, part).backward()
        assert +forward.counts == +backward.counts == Counter({"allreduce_": 2}), "one a layer and direction"
        assert whole.grad is not None and mine.grad is not None
        torch.testing.assert_close(mine.grad, whole.grad[part], rtol=1e-9, atol=1e-11)
    for got, want in zip(ours.parameters(), alone.parameters(), strict=True):
        assert got.grad is not None
        torch.testing.assert_close(world.sum(got.grad.clone()), want.grad, rtol=1e-9, atol=1e-9)
    for name, want in alone.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], want, rtol=1e-11, atol=1e-11)


def _check_the_evaluation_asks_nobody(world: World) -> None:
    ours = make_net()
    convert_norm(ours, kind="sync", sum_over_ranks=world.sum_apart())
    with Collectives() as seen, torch.no_grad():
        torch.testing.assert_close(ours.eval()(images()), make_net().eval()(images()))
    assert not +seen.counts


def _check_kinds(world: World) -> None:
    """Which kinds make a rank's output depend on the other rank's images, and which on its own other images."""
    kinds: tuple[tuple[Norm, bool, bool], ...] = (
        ("batch", True, False),
        ("shuffled", True, False),
        ("sync", True, True),
        ("group", False, False),
        ("frozen", False, False),
    )
    for kind, sees_batch, sees_ranks in kinds:
        net = make_net()
        convert_norm(net, kind=kind, sum_over_ranks=world.sum_apart())
        own = images()[:2] + world.rank  # the ranks' images differ
        with torch.no_grad():
            embedded = net(own)
            first_alone = make_net()
            convert_norm(first_alone, kind=kind)
            assert torch.allclose(first_alone(own[:1]), embedded[:1]) is not sees_batch, kind
            pair_alone = make_net()
            convert_norm(pair_alone, kind=kind)
            assert torch.allclose(pair_alone(own), embedded) is not sees_ranks, kind


def test_two_ranks_compute_what_one_does_with_one_exchange_a_layer_and_direction(tmp_path: Path) -> None:
    on_ranks(2, _on_a_rank, notes=tmp_path)


def alone(values: Tensor) -> Tensor:
    return values


def synchronised(norm: nn.BatchNorm2d, *, sum_over_ranks: Callable[[Tensor], Tensor] = alone) -> SyncBatchNorm2d:
    return SyncBatchNorm2d.of(copy.deepcopy(norm), sum_over_ranks=sum_over_ranks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_all_gradients_are_no_further_from_the_truth_than_torchs_own(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    x = (torch.randn(8, 4, 6, 6) + 30 * torch.arange(4)[:, None, None]).to(dtype)
    slope = torch.randn(8, 4, 6, 6).to(dtype)

    def results(norm: nn.BatchNorm2d, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        y = norm(x)
        (y.sin() * slope.to(y.dtype)).sum().backward()
        assert x.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
        return [y.detach(), x.grad, norm.weight.grad, norm.bias.grad]

    truth = results(copy.deepcopy(norm).double(), x.double())
    torchs, ours = results(copy.deepcopy(norm), x), results(synchronised(norm), x)
    for want, other, got in zip(truth, torchs, ours, strict=True):
        assert got.dtype == other.dtype
        hair = 1e-6 * want.abs().max()
        assert (got - want).abs().max() <= 2 * (other - want).abs().max() + hair


def test_a_mean_far_from_zero_does_not_spoil_the_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 8, 8) + 1e4
    _, var, _ = global_moments(x, sum_over_ranks=alone)
    torch.testing.assert_close(var, x.double().var(dim=(0, 2, 3), correction=0), rtol=1e-5, atol=0)


def test_parameters_keep_their_names_and_a_lone_rank_keeps_batch_norm() -> None:
    net = make_net()
    convert_norm(net, kind="sync", sum_over_ranks=alone)
    assert net.state_dict().keys() == make_net().state_dict().keys()
    assert isinstance(net[1], SyncBatchNorm2d)
    single = make_net()
    convert_norm(single, kind="sync")
    assert type(single[1]) is nn.BatchNorm2d


def test_the_forward_runs_on_a_pretended_gpu_without_synchronising() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        norm = SyncBatchNorm2d.of(nn.BatchNorm2d(4), sum_over_ranks=alone)
        assert norm(torch.randn(2, 4, 5, 5)).device.type == "cuda"

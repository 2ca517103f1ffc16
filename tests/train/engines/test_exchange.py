"""How gradients are averaged over two ranks: each exchange against the mean that one process computes. Real processes, gloo."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mcdist.choices import GradientExchange
from mcdist.ranks.join import join_world, leave_world
from mcdist.train.engines import exchange
from mcdist.train.engines.exchange import register_exchange
from tests.makers.many_ranks import on_ranks

NUM_STEPS = 5
WORST_ERROR = {"allreduce": 1e-6, "ordered": 1e-6, "bf16": 8e-3, "powersgd": 1e-6}
"""Of the largest gradient. bf16 keeps 8 bits of each rank's; PowerSGD of full rank (below) keeps everything but rounding."""


def gradients(net: nn.Module, *, step: int, ranks: list[int]) -> list[Tensor]:
    """Sum of the gradients of these ranks' photos."""
    inputs = torch.cat([torch.randn(4, 24, generator=torch.Generator().manual_seed(10 * step + rank)) for rank in ranks])
    return list(torch.autograd.grad(net(inputs).square().sum(), list(net.parameters())))


def _compare(rank: int, name: GradientExchange, folder: Path) -> None:
    exchange.POWERSGD_RANK, exchange.POWERSGD_FROM_STEP = 4, 2  # type: ignore[misc]
    join_world(device="cpu", timeout_s=60)
    try:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(24, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
        ddp = DistributedDataParallel(net, static_graph=True, gradient_as_bucket_view=True, bucket_cap_mb=0.005)
        register_exchange(ddp, name=name)
        bits = []
        for step in range(NUM_STEPS):
            inputs = torch.randn(4, 24, generator=torch.Generator().manual_seed(10 * step + rank))
            ddp(inputs).square().sum().backward()
            got = [parameter.grad.clone() for parameter in net.parameters()]  # type: ignore[union-attr]
            want = [gradient / 2 for gradient in gradients(net, step=step, ranks=[0, 1])]
            bits += got
            if name != "powersgd" or step < 2:
                worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(got, want, strict=True))
                assert worst < WORST_ERROR[name], f"{worst} after step {step}"
            with torch.no_grad():
                for parameter, gradient in zip(net.parameters(), got, strict=True):
                    parameter.sub_(0.01 * gradient)
                    parameter.grad = None
        torch.save(bits, folder / f"gradients_{rank}.pt")
    finally:
        leave_world()


@pytest.mark.parametrize("name", ["allreduce", "ordered", "bf16", "powersgd"])
def test_every_exchange_gives_all_ranks_the_same_mean(tmp_path: Path, name: GradientExchange) -> None:
    on_ranks(2, _compare, name, tmp_path, notes=tmp_path)
    first, second = (torch.load(tmp_path / f"gradients_{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _ordered_in_buckets(rank: int, bucket_mib: float, folder: Path) -> None:
    join_world(device="cpu", timeout_s=60)
    try:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(24, 33), nn.Tanh(), nn.Linear(33, 7))
        ddp = DistributedDataParallel(net, static_graph=True, gradient_as_bucket_view=True, bucket_cap_mb=bucket_mib)
        register_exchange(ddp, name="ordered")
        inputs = torch.randn(4, 24, generator=torch.Generator().manual_seed(rank))
        ddp(inputs).square().sum().backward()
        own = [parameter.grad.clone() for parameter in net.parameters()]  # type: ignore[union-attr]
        torch.save(own, folder / f"{bucket_mib}_{rank}.pt")
    finally:
        leave_world()


@pytest.mark.slow
def test_the_ordered_sum_has_the_same_bits_in_any_buckets(tmp_path: Path) -> None:
    for bucket_mib in (0.0001, 25.0):
        on_ranks(3, _ordered_in_buckets, bucket_mib, tmp_path, notes=tmp_path)
    small, large = (torch.load(tmp_path / f"{bucket_mib}_0.pt") for bucket_mib in (0.0001, 25.0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 33), nn.Tanh(), nn.Linear(33, 7))
    by_rank = [torch.randn(4, 24, generator=torch.Generator().manual_seed(rank)) for rank in range(3)]
    own = [torch.autograd.grad(net(inputs).square().sum(), list(net.parameters())) for inputs in by_rank]
    for a, b, parts in zip(small, large, zip(*own, strict=True), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, ((parts[0] + parts[1]) + parts[2]) / 3)

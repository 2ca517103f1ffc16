"""Training steps on two gloo ranks by kind of normalisation, and what they exchange: always the same number of collectives, whatever the masks."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mcdist import build
from mcdist.choices import Norm
from mcdist.config import Config, ModelConfig, OptimConfig
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.ops import mask_pool
from mcdist.ranks.join import join_world, leave_world
from mcdist.train.shuffle import inverse, shuffled
from mcdist.train.state import TrainState
from mcdist.train.step import encode_keys, train_step
from tests.makers.collectives import Collectives
from tests.makers.many_ranks import on_ranks
from tests.train import step_case
from tests.train.step_case import SETTINGS, make_batch, named

ALONE = World(0, 1, torch.device("cpu"))


def make_state(world: World, *, norm: Norm) -> TrainState:
    torch.manual_seed(0)
    model = ModelConfig(backbone="resnet18", num_stages=3, decoder="linear", embedding_dim=8, bank_size=16, norm=norm)
    return build.build_state(Config(model=model, optim=OptimConfig(lr=0.1, weight_decay=0.0)), world=world)


def part_of(batch: Batch, world: World) -> Batch:
    """The positions of the global batch that lie on this rank."""
    return step_case.part_of(batch, slice(world.rank, None, world.num_ranks))


def _on_a_rank(rank: int) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        _check_two_ranks_are_one(world, norm="sync")
        _check_two_ranks_are_one(world, norm="frozen")
        _check_rows_come_home(world)
        _check_shuffled_statistics(world)
        _check_own_statistics_stay_own(world)
        normed: tuple[Norm, ...] = ("batch", "sync", "shuffled")
        for norm in normed:
            _check_a_skipped_step_moves_no_statistics(world, norm=norm)
        for norm in normed[:2]:
            _check_collectives_do_not_depend_on_masks(world, norm=norm)
    finally:
        leave_world()


def _check_two_ranks_are_one(world: World, *, norm: Norm) -> None:
    """Weights, running statistics and bank after three steps, against one rank with the whole batch."""
    alone, ours = make_state(ALONE, norm=norm), make_state(world, norm=norm)
    for seed in range(3):
        batch = make_batch(4, seed=seed)
        train_step(alone, [batch], lr=0.05, settings=SETTINGS)
        train_step(ours, [part_of(batch, world)], lr=0.05, settings=SETTINGS)
    for part in ("query", "key"):
        for name, want in getattr(alone, part).state_dict().items():
            torch.testing.assert_close(getattr(ours, part).state_dict()[name], want, rtol=2e-3, atol=2e-4, msg=named(f"{norm} {part} {name}"))
    torch.testing.assert_close(ours.bank.rows, alone.bank.rows, rtol=2e-3, atol=2e-4)


def _check_rows_come_home(world: World) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.int64):
        everyone = torch.arange(2 * 5 * 3).view(10, 3).to(dtype)
        own = everyone[5 * world.rank :][:5]
        for step in range(4):
            order = shuffled(5, num_ranks=2, seed=1, step=step, micro_batch=0)
            with Collectives() as seen:
                visitors = world.permute_rows(own, order=order)
            assert +seen.counts == Counter({"alltoall_base_": 1})
            assert torch.equal(visitors, everyone[torch.from_numpy(order)][5 * world.rank :][:5])
            assert torch.equal(world.permute_rows(visitors, order=inverse(order)), own)
        backwards = numpy.arange(10)[::-1].copy()
        assert torch.equal(world.permute_rows(own, order=backwards), everyone.flip(0)[5 * world.rank :][:5])


def _check_shuffled_statistics(world: World) -> None:
    """Each key image is encoded beside those it was dealt with, on whichever rank, and its prototype comes home."""
    settings = replace(SETTINGS, shuffle_keys=True)
    ours, batch = make_state(world, norm="shuffled"), make_batch(4)
    ours.step = 7
    with Collectives() as seen:
        pooled = encode_keys(ours, part_of(batch, world), settings=settings)
    assert +seen.counts == Counter({"alltoall_base_": 2})
    order = shuffled(2, num_ranks=2, seed=settings.seed, step=7, micro_batch=0)
    everyone = torch.cat([batch.key_images[rank::2] for rank in range(2)])[torch.from_numpy(order)]
    features = torch.empty(0)
    with torch.no_grad():
        features = torch.cat([make_state(ALONE, norm="batch").key(dealt).features for dealt in everyone.split(2)])
    home = features[torch.from_numpy(inverse(order))][2 * world.rank :][:2]
    want = mask_pool(home, batch.key_instances[world.rank :: 2], max_objects=settings.max_objects)
    torch.testing.assert_close(pooled.prototypes, want.prototypes, rtol=1e-4, atol=1e-5)
    assert torch.equal(pooled.num_pixels, want.num_pixels)


def _check_own_statistics_stay_own(world: World) -> None:
    """norm=batch: no rank overwrites another's running statistics; the checkpoint holds rank 0's, which have seen rank 0's images."""
    ours = make_state(world, norm="batch")
    for seed in range(2):
        train_step(ours, [part_of(make_batch(4, seed=seed), world)], lr=0.0, settings=SETTINGS)
    (mean,) = (tensor for name, tensor in ours.query.state_dict().items() if name.endswith("stages.0.1.running_mean"))
    (both,) = world.gather_rows(mean[None])
    assert not torch.allclose(both[0], both[1])
    first, last = ours.query.parameters(), make_state(world, norm="batch").query.parameters()
    assert all(torch.equal(a, b) for a, b in zip(first, last, strict=True)), "a learning rate of 0"


def _check_a_skipped_step_moves_no_statistics(world: World, *, norm: Norm) -> None:
    """A photo that is not finite, on the last rank alone: both ranks' statistics and bank stay, of query and key."""
    settings, state = replace(SETTINGS, shuffle_keys=norm == "shuffled"), make_state(world, norm=norm)
    train_step(state, [part_of(make_batch(4), world)], lr=0.05, settings=settings)
    kept = {name: buffer.clone() for name, buffer in _buffers(state).items()}
    batch = make_batch(4, seed=1)
    batch.query_images[1, 0, 3, 3] = batch.key_images[1, 0, 3, 3] = torch.nan
    assert float(train_step(state, [part_of(batch, world)], lr=0.05, settings=settings).skipped) == 1.0
    assert not [name for name, buffer in _buffers(state).items() if not torch.equal(buffer, kept[name])], norm
    assert float(train_step(state, [part_of(make_batch(4, seed=2), world)], lr=0.05, settings=settings).skipped) == 0.0
    assert [name for name, buffer in _buffers(state).items() if not torch.equal(buffer, kept[name])], norm


def _buffers(state: TrainState) -> dict[str, Tensor]:
    return {f"{part}/{name}": buffer for part in ("query", "key", "bank") for name, buffer in getattr(state, part).named_buffers()}


def without_objects(batch: Batch) -> Batch:
    return replace(batch, query_instances=torch.full_like(batch.query_instances, -1), key_instances=torch.zeros_like(batch.key_instances))


def _check_collectives_do_not_depend_on_masks(world: World, *, norm: Norm) -> None:
    settings = replace(SETTINGS, shuffle_keys=norm == "shuffled")
    state = make_state(world, norm=norm)
    seen_by_step: list[tuple[Counter[str], Counter[str]]] = []
    for seed, void in enumerate((False, False, False, True, world.rank == 0, world.rank == 1, False)):
        halves = [part_of(make_batch(4, seed=10 * seed + half), world) for half in range(2)]
        halves = [without_objects(half) for half in halves] if void else halves
        with Collectives() as seen:
            train_step(state, halves, lr=0.05, settings=settings)
        seen_by_step.append((+seen.counts, Counter() if norm == "shuffled" else +seen.num_bytes))
    steady = seen_by_step[3:]  # after two steps DDP lays its buckets out anew, once, and tells the ranks
    assert all(counts == steady[0] for counts in steady), steady
    if norm == "batch":
        num_bytes = steady[0][1]
        gradients_bytes = 4 * sum(parameter.numel() for parameter in state.query.parameters())
        assert num_bytes.total() <= 1.05 * (gradients_bytes + num_bytes["_allgather_base_"])
        assert steady[0][0] == Counter({"_allgather_base_": 1, "allreduce_": 2}), (steady[0], "prototypes; pixel counts, gradients")


def test_steps_on_two_ranks_by_kind_of_normalisation(tmp_path: Path) -> None:
    on_ranks(2, _on_a_rank, notes=tmp_path)


@given(num_rows=st.integers(1, 6), num_ranks=st.integers(1, 5), seed=st.integers(0, 2**31), step=st.integers(0, 10**6))
def test_a_deal_is_a_permutation_that_its_inverse_undoes(num_rows: int, num_ranks: int, seed: int, step: int) -> None:
    order = shuffled(num_rows, num_ranks=num_ranks, seed=seed, step=step, micro_batch=1)
    assert sorted(order.tolist()) == list(range(num_rows * num_ranks))
    assert (order[inverse(order)] == numpy.arange(len(order))).all()
    assert (order == shuffled(num_rows, num_ranks=num_ranks, seed=seed, step=step, micro_batch=1)).all()


@pytest.mark.parametrize("other", [{"seed": 4}, {"step": 9}, {"micro_batch": 1}])
def test_every_seed_step_and_micro_batch_is_dealt_anew(other: dict[str, int]) -> None:
    usual: dict[str, Any] = {"num_ranks": 4, "seed": 3, "step": 5, "micro_batch": 0}
    assert (shuffled(16, **usual) != shuffled(16, **{**usual, **other})).any()


def test_one_rank_permutes_its_own_rows() -> None:
    rows: Tensor = torch.arange(6).view(3, 2)
    assert torch.equal(ALONE.permute_rows(rows, order=numpy.array([2, 0, 1])), rows[[2, 0, 1]])

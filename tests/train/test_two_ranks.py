"""Two gloo ranks: one collective gathers exactly, the bank is the same everywhere, and a run goes on on another number of ranks. Real processes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mcdist import run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.distributed import World, pack, unpack
from mcdist.ranks.join import join_world, leave_world
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.train.state import TrainState
from mcdist.train.step import gather, train_step
from mcdist.train.terms import Balance, Candidates, Term, TermValue
from mcdist.types import Embedded, Pooled
from tests.fixture_types import MakeShards
from tests.makers.collectives import Collectives
from tests.makers.many_ranks import on_ranks
from tests.train import step_case
from tests.train.step_case import SETTINGS, make_batch, make_settings, make_state

COUNTS = ((2**24 + 1, 0, 2**31 + 5), (2**24 + 3, 2**40 + 1, 0))
"""Pixels of three objects on each of two ranks: none of the large ones is exact in float32, and the ranks have other rows empty."""


def pooled_on(rank: int, *, dtype: torch.dtype) -> list[Pooled]:
    """Two micro-batches: one object, then two; a vector that is not finite among them."""
    torch.manual_seed(rank)
    prototypes, num_pixels = torch.randn(3, 5).to(dtype), torch.tensor(COUNTS[rank])
    prototypes[1, 2] = torch.nan
    return [Pooled(prototypes[:1], num_pixels[:1]), Pooled(prototypes[1:], num_pixels[1:])]


def part_of(batch: Batch, rank: int) -> Batch:
    """The positions of the global batch that lie on `rank`."""
    return step_case.part_of(batch, slice(rank, None, 2))


def take_steps(state: TrainState, batch_of: Callable[[Batch], Batch]) -> None:
    for seed in range(3):
        train_step(state, [batch_of(make_batch(4, seed=seed))], lr=0.1, settings=SETTINGS)


def _gather_and_train(rank: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        _check_gather(world)
        _check_photos(world)
        state = make_state(world=world, norm="group")
        take_steps(state, lambda batch: part_of(batch, rank))
        save_file(state.bank.state_dict(), folder / f"bank_{rank}")
    finally:
        leave_world()


def _check_gather(world: World) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        with Collectives() as collectives:
            everyone = gather(pooled_on(world.rank, dtype=dtype), world=world)
        assert +collectives.counts == Counter({"_allgather_base_": 1}), collectives.counts
        assert everyone.num_pixels.tolist() == [*COUNTS[0], *COUNTS[1]]
        want = torch.cat([part.prototypes for rank in (0, 1) for part in pooled_on(rank, dtype=dtype)])
        torch.testing.assert_close(everyone.prototypes, want, rtol=0, atol=0, equal_nan=True)


def _check_photos(world: World) -> None:
    """A term divides by the photos that the loss is a mean of: those of all ranks, or in scope `rank` its own."""
    seen = []

    def watching_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance) -> TermValue:
        seen.append(balance.num_photos)
        return TermValue(embedded.features.sum())

    for scope in ("global", "rank"):
        settings = make_settings(scope=scope, terms=(Term("watching", 1.0, watching_term),))
        train_step(make_state(world=world, norm="group"), [part_of(make_batch(6), world.rank)], lr=0.0, settings=settings)
    assert seen == [6, 3]


def test_one_collective_gathers_exactly_and_every_rank_holds_the_bank_of_one(tmp_path: Path) -> None:
    on_ranks(2, _gather_and_train, tmp_path, notes=tmp_path)
    alone = make_state(norm="group")
    take_steps(alone, lambda batch: batch)
    first, second = (load_file(tmp_path / f"bank_{rank}") for rank in (0, 1))
    for name, want in alone.bank.state_dict().items():
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
        torch.testing.assert_close(first[name], want, rtol=1e-4, atol=1e-5)
    assert int(alone.bank.ages.max()) > 0


@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3),
    dtypes=st.lists(st.sampled_from([torch.int64, torch.bfloat16, torch.uint8, torch.float64]), min_size=3, max_size=3),
    num_ranks=st.integers(1, 3),
)
def test_unpacking_is_the_inverse_of_packing_for_any_shapes_and_dtypes(shapes: list[tuple[int, int]], dtypes: list[torch.dtype], num_ranks: int) -> None:
    by_rank = [[torch.arange(rank, rank + a * b).view(a, b).to(dtype) for (a, b), dtype in zip(shapes, dtypes, strict=False)] for rank in range(num_ranks)]
    together = unpack(torch.stack([pack(tensors) for tensors in by_rank]), like=by_rank[0])
    for got, versions in zip(together, zip(*by_rank, strict=True), strict=True):
        torch.testing.assert_close(got, torch.cat(versions), rtol=0, atol=0)


CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 21, momentum: 0.9}
optim: {global_batch: 4, epochs: 3, lr: 0.02, clip_grad_norm: 5.0}
run: {device: cpu, num_threads: 1}
checkpoint: {every_steps: 100}
report: {mlflow: "off", console: "off", log_every_steps: 3}
"""


class StopsAtThree(run.StopWish):
    """As if a signal came during the third step of a start."""

    asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        self.signal_number = 15 if self.asked == 3 else 0
        return bool(self.signal_number)


def _three_steps(rank: int, config: Config, stop: bool) -> None:
    if stop:
        run.StopWish = StopsAtThree  # type: ignore[misc]
    assert run.train_run(config) == (143 if stop else 0)


def test_the_bank_goes_on_from_two_ranks_to_one_and_back(tmp_path: Path, make_shards: MakeShards, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(12)
    whole, parts = (load_config(tmp_path / "config.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / name}"]) for name in ("whole", "parts"))
    assert run.train_run(whole) == 0
    on_ranks(2, _three_steps, parts, True, notes=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run, "StopWish", StopsAtThree)
        assert run.train_run(parts) == 143
    on_ranks(2, _three_steps, parts, False, notes=tmp_path)

    (step, want), (same_step, got) = (_last_bank(config) for config in (whole, parts))
    assert step == same_step == "step_00000009"
    for name in ("ages", "num_valid", "next_row"):
        torch.testing.assert_close(got[name], want[name], rtol=0, atol=0)
    torch.testing.assert_close(got["rows"], want["rows"], rtol=1e-3, atol=1e-4)
    assert int(want["ages"][:21].max()) > 0
    assert int(want["num_valid"]) == 21, "the ring went round"


def _last_bank(config: Config) -> tuple[str, dict[str, torch.Tensor]]:
    newest = list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)[-1]
    tensors = load_file(newest / "state.safetensors")
    return newest.name, {name.removeprefix("bank/"): tensor for name, tensor in tensors.items() if name.startswith("bank/")}

"""The step with groups: accumulation, ranks, skipped steps, resuming, the memory, and that nobody looks at the key views where no term needs them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from mcdist.ranks.join import join_world, leave_world
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.state import TrainState
from mcdist.train.step import train_step
from mcdist.types import Embedded
from tests.makers.many_ranks import on_ranks
from tests.train.step_case import GROUPED, NUM_GROUPS, SETTINGS, group_terms, make_batch, make_settings, make_state, named, part_of

ONLY_GROUP = make_settings(terms=group_terms()[:1])


def grouped_state(**options) -> TrainState:
    return make_state(num_groups=NUM_GROUPS, **options)


def test_accumulating_two_halves_is_one_step_over_the_whole() -> None:
    whole, halves, batch = grouped_state(norm="group"), grouped_state(norm="group"), make_batch(4)
    for _ in range(3):
        one = train_step(whole, [batch], lr=0.1, settings=GROUPED)
        two = train_step(halves, [part_of(batch, slice(0, 2)), part_of(batch, slice(2, 4))], lr=0.1, settings=GROUPED)
        for name in ("group", "group_contrast"):
            torch.testing.assert_close(two.terms[name], one.terms[name])
        assert [cells.tolist() for cells in two.predicted] == [cells.tolist() for cells in one.predicted]
    for mine, theirs in zip(halves.query.parameters(), whole.query.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert whole.memory is not None and halves.memory is not None
    torch.testing.assert_close(halves.memory.prototypes, whole.memory.prototypes, rtol=1e-4, atol=1e-5)


def _train(rank: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        state = grouped_state(world=world, norm="group")
        losses = []
        for seed in range(3):
            result = train_step(state, [part_of(make_batch(4, seed=seed), slice(rank, None, 2))], lr=0.1, settings=GROUPED)
            losses.append(world.sum(torch.stack([result.terms["group"], result.terms["group_contrast"]])))
        assert state.memory is not None
        kept = {"head": state.query.state_dict()["groups.weight"].contiguous(), "losses": torch.stack(losses)}
        save_file({**state.memory.state_dict(), **kept}, folder / f"rank_{rank}")
    finally:
        leave_world()


def test_two_ranks_compute_what_one_does_and_hold_the_same_memory(tmp_path: Path) -> None:
    on_ranks(2, _train, tmp_path, notes=tmp_path)
    alone, losses = grouped_state(norm="group"), []
    for seed in range(3):
        result = train_step(alone, [make_batch(4, seed=seed)], lr=0.1, settings=GROUPED)
        losses.append(torch.stack([result.terms["group"], result.terms["group_contrast"]]))
    assert alone.memory is not None
    want = {**alone.memory.state_dict(), "head": alone.query.state_dict()["groups.weight"], "losses": torch.stack(losses)}
    first, second = (load_file(tmp_path / f"rank_{rank}") for rank in (0, 1))
    for name, tensor in want.items():
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0, msg=named(name))
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5, msg=named(name))


def test_the_memory_is_the_mean_of_the_keys_of_each_group() -> None:
    state, batch = grouped_state(), make_batch(4)
    result = train_step(state, [batch], lr=0.1, settings=GROUPED)
    assert state.memory is not None and state.table is not None
    group_of = state.table.of(batch.indices).flatten(0, 1)
    for place, first in ((0, 0), (1, NUM_GROUPS[0])):
        for group in range(NUM_GROUPS[place]):
            members = result.prototypes[result.valid & (group_of[:, place] == group)]
            if len(members):
                torch.testing.assert_close(state.memory.prototypes[first + group], normalize(members.sum(0), dim=0))
    before = state.memory.prototypes.clone()
    result = train_step(state, [batch], lr=0.1, settings=GROUPED)
    members = result.prototypes[result.valid & (group_of[:, 0] == 1)]
    moved = 0.9 * before[1] + 0.1 * normalize(members.sum(0), dim=0)
    torch.testing.assert_close(state.memory.prototypes[1], normalize(moved, dim=0))


@pytest.mark.parametrize("view", ["query_images", "key_images"])
def test_a_skipped_step_leaves_the_memory_and_the_group_head_as_they_were(view: str) -> None:
    state, spoilt = grouped_state(norm="group"), make_batch(2)
    getattr(spoilt, view)[0, 0, 3, 3] = torch.nan
    train_step(state, [make_batch(2, seed=1)], lr=0.1, settings=GROUPED)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    assert float(train_step(state, [spoilt], lr=0.1, settings=GROUPED).skipped) == 1.0
    changed = [name for name, tensor in state.tensors().items() if not torch.equal(tensor, before[name])]
    assert all(name.startswith("key/") for name in changed)
    assert {name for name in before if name.startswith("groups/")} == {"groups/prototypes", "groups/known"}


def test_a_state_that_was_saved_goes_on_with_the_same_bits() -> None:
    torch.manual_seed(0)
    whole = grouped_state(optimizer="adamw")
    for seed in range(4):
        if seed == 2:
            kept = {name: tensor.clone() for name, tensor in whole.tensors().items()}
            numbers = whole.numbers()
        train_step(whole, [make_batch(4, seed=seed)], lr=0.1, settings=GROUPED)
    again = grouped_state(optimizer="adamw")
    again.load(kept, numbers=numbers)
    for seed in (2, 3):
        train_step(again, [make_batch(4, seed=seed)], lr=0.1, settings=GROUPED)
    got, want = again.tensors(), whole.tensors()
    assert not [name for name, tensor in want.items() if not name.startswith("random/") and not torch.equal(got[name], tensor)]
    assert numbers["groups"] == "f" * 64


def test_a_run_that_takes_up_the_contrast_with_groups_starts_with_an_empty_memory() -> None:
    before, after = make_state(num_groups=NUM_GROUPS), make_state(num_groups=NUM_GROUPS)
    before.memory = None
    after.load(before.tensors(), numbers=before.numbers())
    assert after.memory is not None and not after.memory.known.any()


def test_without_a_term_that_needs_keys_the_key_encoder_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def looks(*_) -> Embedded:
        raise AssertionError("a key forward")

    monkeypatch.setattr(EngineDDP, "forward_key", looks)
    state, batch = grouped_state(norm="group"), make_batch(4)
    result = train_step(state, [batch], lr=0.1, settings=ONLY_GROUP)
    assert list(result.terms) == ["group"] and float(result.loss) == pytest.approx(0.7 * float(result.terms["group"]))
    assert int(result.valid.sum()) > 0 and result.prototypes[result.valid].isfinite().all(), "the monitor still sees objects"
    assert int(state.bank.num_valid) == 0 and state.memory is not None and not state.memory.known.any()
    with pytest.raises(AssertionError, match="a key forward"):
        train_step(state, [batch], lr=0.1, settings=SETTINGS)


def test_the_group_term_is_the_same_with_and_without_keys() -> None:
    """Its gradient, too, where it is alone in reaching the query."""
    lone, watched = grouped_state(norm="group"), grouped_state(norm="group")
    term = group_terms()[0]
    settings = replace(ONLY_GROUP, terms=(replace(term, needs_keys=True),))
    for _ in range(2):
        one, two = (train_step(state, [make_batch(4)], lr=0.1, settings=used) for state, used in ((lone, ONLY_GROUP), (watched, settings)))
        torch.testing.assert_close(one.terms["group"], two.terms["group"], rtol=0, atol=0)
        torch.testing.assert_close(one.grad_norm, two.grad_norm, rtol=0, atol=0)


def test_steps_learn_the_groups() -> None:
    state, batch = grouped_state(), make_batch(4)
    results = [train_step(state, [batch], lr=0.05, settings=GROUPED) for _ in range(20)]
    for name in ("group", "group_contrast"):
        assert float(results[-1].terms[name]) < float(results[1].terms[name])


def test_heads_that_no_term_reads_are_frozen_and_left_out() -> None:
    for reads, trains in (
        (("features", "saliency", "groups"), {"embedding", "saliency", "groups"}),
        (("groups",), {"embedding", "groups"}),
        (("saliency",), {"saliency"}),
    ):
        query = grouped_state().query.requires_grad_(True)
        query.freeze_unread(reads)
        assert {name.partition(".")[0] for name, tensor in query.named_parameters() if tensor.requires_grad} - {"backbone"} == trains

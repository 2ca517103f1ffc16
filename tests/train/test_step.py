"""The step's arithmetic, and that it never asks the device for a value: the forward part runs on a pretended CUDA device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mcdist.choices import MomentumBuffers
from mcdist.data.batch import Batch
from mcdist.distributed import World, pack, unpack
from mcdist.errors import ConfigError
from mcdist.model.bank import MemoryBank
from mcdist.model.group_memory import GroupMemory
from mcdist.model.momentum import follow
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.group_table import GroupTable
from mcdist.train.state import TrainState
from mcdist.train.step import StepSettings, choose_candidates, count_pixels, encode_keys, gather, gather_groups, query_terms, train_step
from mcdist.train.terms import Balance, Candidates, Term, TermValue, weighted_sum
from mcdist.types import Embedded
from tests.train.step_case import GROUPED, NUM_GROUPS, SETTINGS, make_batch, make_encoder, make_state, part_of


def _halves(batch: Batch) -> list[Batch]:
    return [part_of(batch, places) for places in (slice(0, 2), slice(2, 4))]


def test_accumulating_two_halves_is_one_step_over_the_whole() -> None:
    whole, halves, batch = make_state(norm="group"), make_state(norm="group"), make_batch(4)
    for _ in range(3):
        one = train_step(whole, [batch], lr=0.1, settings=SETTINGS)
        two = train_step(halves, _halves(batch), lr=0.1, settings=SETTINGS)
        torch.testing.assert_close(two.terms["contrast"], one.terms["contrast"])
        torch.testing.assert_close(two.terms["saliency"], one.terms["saliency"])
    for mine, theirs in zip(halves.query.parameters(), whole.query.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(halves.bank.rows, whole.bank.rows)


def test_the_bank_takes_the_prototypes_after_the_loss() -> None:
    state, batch = make_state(), make_batch(4)
    result = train_step(state, [batch], lr=0.1, settings=SETTINGS)
    num_valid = int(result.valid.sum())
    assert int(state.bank.num_valid) == min(num_valid, 16)
    torch.testing.assert_close(state.bank.candidates[:num_valid], result.prototypes[result.valid])


def test_a_bank_of_bf16_rows_serves_the_loss_within_its_rounding() -> None:
    full, half, batch = make_state(), make_state(bank_dtype="bf16"), make_batch(4)
    for _ in range(2):
        want, got = (train_step(state, [batch], lr=0.0, settings=SETTINGS) for state in (full, half))
    torch.testing.assert_close(half.bank.rows, full.bank.rows.bfloat16(), rtol=0, atol=0)
    torch.testing.assert_close(got.terms["contrast"], want.terms["contrast"], rtol=2e-3, atol=0)


@pytest.mark.parametrize("content", [0.0, float("nan")])
def test_an_empty_row_is_no_candidate_whatever_it_holds(content: float) -> None:
    clean, spoilt, batch = make_state(), make_state(), make_batch(4)
    spoilt.bank.rows.fill_(content)
    for _ in range(2):
        want, got = (train_step(state, [batch], lr=0.1, settings=SETTINGS) for state in (clean, spoilt))
        torch.testing.assert_close(got.terms["contrast"], want.terms["contrast"], rtol=0, atol=0)
        assert float(got.skipped) == 0.0


def test_a_row_of_zeros_that_was_written_is_a_candidate() -> None:
    state, batch = make_state(), make_batch(2)
    without = train_step(state, [batch], lr=0.0, settings=SETTINGS)
    state = make_state()
    state.bank.enqueue(torch.zeros(4, 8), valid=torch.ones(4, dtype=torch.bool))
    with_empty = train_step(state, [batch], lr=0.0, settings=SETTINGS)
    assert float(with_empty.terms["contrast"]) > float(without.terms["contrast"]), "four logits of 0 join the denominator"


def test_the_key_moves_before_its_forward_pass_and_by_no_gradient() -> None:
    state, batch = make_state(), make_batch(2)
    start = [parameter.clone() for parameter in state.query.parameters()]
    train_step(state, [batch], lr=0.1, settings=SETTINGS)
    assert all(torch.equal(before, now) for before, now in zip(start, state.key.parameters(), strict=True)), "query and key were equal: nothing to follow"
    moved = [parameter.detach().clone() for parameter in state.query.parameters()]
    train_step(state, [batch], lr=0.1, settings=SETTINGS)
    for before, lead, now in zip(start, moved, state.key.parameters(), strict=True):
        torch.testing.assert_close(now, 0.99 * before + 0.01 * lead)


def spoil_query(batch: Batch) -> None:
    batch.query_images[0, 0, 3, 3] = torch.nan


def spoil_key(batch: Batch) -> None:
    batch.key_images[1, 0, 3, 3] = torch.inf


@pytest.mark.parametrize("spoil", [spoil_query, spoil_key])
@pytest.mark.parametrize(
    ("options", "buffers"),
    [
        ({}, "own"),
        ({}, "copy"),
        ({"optimizer": "adamw", "clip_grad_norm": 0.5, "bank_dtype": "bf16"}, "own"),
        ({"norm": "group", "precision": "bf16"}, "copy"),
        ({"norm": "frozen", "bank_size": 0}, "own"),
    ],
    ids=str,
)
def test_a_step_over_a_non_finite_photo_leaves_everything_as_it_was(options: dict[str, Any], buffers: MomentumBuffers, spoil: Callable[[Batch], None]) -> None:
    """Everything but the key's parameters, which follow the query before the step is known to be skipped: they have made that move, and only that."""
    state, settings = make_state(**options), replace(SETTINGS, momentum_buffers=buffers)
    sound, spoilt = make_batch(2, seed=1), make_batch(2)
    spoil(spoilt)
    train_step(state, [sound], lr=0.1, settings=settings)
    wanted = {name: tensor.clone() for name, tensor in state.tensors().items()}
    moved = {f"key/{name}": tensor.clone() for name, tensor in state.key.named_parameters()}
    torch._foreach_lerp_(list(moved.values()), list(state.query.parameters()), 1.0 - settings.momentum)
    assert float(train_step(state, [spoilt], lr=0.1, settings=settings).skipped) == 1.0
    assert not [name for name, tensor in state.tensors().items() if not torch.equal(tensor, {**wanted, **moved}[name])]
    assert any("num_batches_tracked" in name for name in wanted) is ("norm" not in options)
    assert float(train_step(state, [sound], lr=0.1, settings=settings).skipped) == 0.0


def test_a_run_that_skipped_a_step_goes_on_as_one_that_never_met_it() -> None:
    """With a key that stays (momentum 1), so that nothing at all is left of the skipped step."""
    settings = replace(SETTINGS, momentum=1.0)
    disturbed, plain = make_state(), make_state()
    for seed in range(3):
        batch = make_batch(2, seed=10 + seed)
        spoil_query(batch)
        train_step(disturbed, [batch], lr=0.1, settings=settings)
        for state in (disturbed, plain):
            train_step(state, [make_batch(2, seed=seed)], lr=0.1, settings=settings)
    got, want = disturbed.tensors(), plain.tensors()
    assert not [name for name, tensor in want.items() if not name.startswith("random/") and not torch.equal(got[name], tensor)]


def test_a_key_forward_that_no_loss_sees_moves_no_statistics_where_it_is_not_finite() -> None:
    state, batch = make_state(), make_batch(2)
    before = {name: buffer.clone() for name, buffer in state.key.named_buffers()}
    batch.key_instances.fill_(0)
    spoil_key(batch)
    assert float(train_step(state, [batch], lr=0.1, settings=SETTINGS).skipped) == 0.0, "no prototype, so nothing that is not finite reaches the loss"
    assert all(torch.equal(before[name], buffer) for name, buffer in state.key.named_buffers())
    assert not torch.equal(before["backbone.stages.0.1.running_mean"], state.query.get_buffer("backbone.stages.0.1.running_mean"))


def test_the_result_calls_no_row_valid_that_is_not_finite() -> None:
    state, batch = make_state(norm="group"), make_batch(2)
    spoil_key(batch)
    result = train_step(state, [batch], lr=0.1, settings=SETTINGS)
    assert 0 < int(result.valid.sum()) < int((batch.key_instances.flatten(1).amax(1) > 0).sum()) * SETTINGS.max_objects
    assert result.prototypes[result.valid].isfinite().all()


def test_a_new_term_is_one_more_function_in_the_list() -> None:
    def length_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance) -> TermValue:
        return TermValue(embedded.features.square().mean(), {"vectors": torch.tensor(embedded.features[:, 0].numel())})

    settings = replace(SETTINGS, terms=(*SETTINGS.terms, Term("length", 0.25, length_term)))
    result = train_step(make_state(), [make_batch(2), make_batch(2, seed=1)], lr=0.1, settings=settings)
    assert list(result.terms) == ["contrast", "saliency", "length"]
    contrast, saliency, length = result.terms.values()
    torch.testing.assert_close(result.loss, contrast + saliency + 0.25 * length)
    assert int(result.counts["length/vectors"]) == 2 * 2 * 4 * 4
    plain = train_step(make_state(), [make_batch(2), make_batch(2, seed=1)], lr=0.1, settings=SETTINGS)
    assert float(result.grad_norm) != float(plain.grad_norm), "its gradient reaches the query"


def test_a_term_that_is_a_mean_over_photos_is_the_same_whatever_the_accumulation() -> None:
    def length_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance) -> TermValue:
        return TermValue(embedded.features.square().mean(dim=(1, 2, 3)).sum() / balance.num_photos)

    batch = make_batch(4)
    settings = replace(SETTINGS, terms=(*SETTINGS.terms, Term("length", 0.25, length_term)))
    whole, halves = (train_step(make_state(norm="group"), given, lr=0.1, settings=settings) for given in ([batch], _halves(batch)))
    torch.testing.assert_close(halves.terms["length"], whole.terms["length"])
    torch.testing.assert_close(halves.grad_norm, whole.grad_norm)


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="names of the loss terms must differ, got contrast, contrast"):
        replace(SETTINGS, terms=SETTINGS.terms[:1] * 2)


def test_photos_without_any_object_give_a_zero_contrast_and_no_nan() -> None:
    state, batch = make_state(), make_batch(2)
    batch.query_instances.fill_(-1)
    batch.key_instances.fill_(-1)
    result = train_step(state, [batch], lr=0.1, settings=SETTINGS)
    assert float(result.terms["contrast"]) == 0.0
    assert float(result.terms["saliency"]) == 0.0
    assert float(result.skipped) == 0.0
    assert int(state.bank.num_valid) == 0


def test_steps_learn() -> None:
    state, batch = make_state(), make_batch(4)
    results = [train_step(state, [batch], lr=0.05, settings=SETTINGS) for _ in range(20)]
    losses = [float(result.terms["saliency"]) for result in results]
    assert losses[-1] < losses[0]
    assert int(results[-1].counts["contrast/correct"]) > int(results[0].counts["contrast/correct"])


@contextmanager
def pretended_cuda() -> Iterator[None]:
    with FakeTensorMode(), torch.device("cuda"):
        yield


def forward_part(*, spoil: Callable[[Any], None] = lambda state: None, settings: StepSettings = SETTINGS) -> torch.Tensor:
    """Everything of a step before the backward, on whatever device is current."""
    num_groups = NUM_GROUPS if settings is GROUPED else ()
    query, key = make_encoder(num_groups=num_groups), make_encoder(num_groups=num_groups)
    world = World(0, 1, torch.device("cuda"))
    engine = object.__new__(EngineDDP)  # its constructor wants an optimizer and a GradScaler, which want a real device
    engine.world, engine.autocast_dtype, engine._run_key = world, torch.float32, key
    engine.scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainState(query=query, key=key, bank=MemoryBank(16, dim=8), engine=engine)
    if num_groups:
        state.memory = GroupMemory(num_groups, dim=8, momentum=0.9)
        state.table = GroupTable(torch.zeros(4, 3, 2, dtype=torch.int16), torch.zeros(4, 3, 2), num_groups, "f" * 64)
    spoil(state)
    batch = make_batch(2, device="cuda")
    follow(state.key, query=state.query, momentum=0.99, buffers="copy")
    pooled = [encode_keys(state, batch, settings=settings)]
    everyone = gather(pooled, world=world)
    if state.memory is not None:
        state.memory.follow(everyone.prototypes, group_of_PS=gather_groups(state, [batch]), valid=everyone.num_pixels > 0)
    candidates = choose_candidates(pooled, everyone, [batch], state=state, settings=settings)
    balance = count_pixels([batch], candidates, world=world, settings=settings)
    embedded = state.query(batch.query_images)
    loss = weighted_sum(settings.terms, query_terms(embedded, batch, candidates[0], balance, terms=settings.terms))
    state.bank.enqueue(everyone.prototypes, valid=everyone.num_pixels > 0)
    assert state.bank.usage().age_mean_steps.device.type == "cuda"
    return loss


@pytest.mark.parametrize("settings", [SETTINGS, GROUPED], ids=["objects", "groups"])
def test_the_forward_part_runs_on_a_pretended_gpu_without_synchronising(settings: StepSettings) -> None:
    with pretended_cuda():
        assert forward_part(settings=settings).device.type == "cuda"


def test_packing_for_the_gather_runs_on_a_pretended_gpu_without_synchronising() -> None:
    with pretended_cuda():
        tensors = (torch.zeros(6, 8, dtype=torch.bfloat16), torch.zeros(6, dtype=torch.int64))
        prototypes, num_pixels = unpack(torch.stack([pack(tensors)] * 2), like=tensors)
        assert (prototypes.device.type, prototypes.shape, prototypes.dtype) == ("cuda", (12, 8), torch.bfloat16)
        assert (num_pixels.device.type, num_pixels.shape, num_pixels.dtype) == ("cuda", (12,), torch.int64)


def _bank_on_the_cpu(state: Any) -> None:
    state.bank = MemoryBank(16, dim=8)
    state.bank.rows = torch.zeros(17, 8, device="cpu")


def _bank_that_asks(state: Any) -> None:
    state.bank = _AskingBank(16, dim=8)


class _AskingBank(MemoryBank):
    def enqueue(self, prototypes: torch.Tensor, *, valid: torch.Tensor) -> None:
        self.rows[: int(valid.sum())] = prototypes[:1]


def _head_on_the_cpu(state: Any) -> None:
    state.query.saliency = torch.nn.Conv2d(128, 1, 1, device="cpu")


@pytest.mark.parametrize(
    ("slip", "error", "message"),
    [
        (_bank_on_the_cpu, ValueError, "bank must be on cuda:0, where the features are, but is on cpu"),
        (_bank_that_asks, DataDependentOutputException, "_local_scalar_dense"),
        (_head_on_the_cpu, RuntimeError, "same device"),
    ],
)
def test_a_planted_slip_is_found_without_a_gpu(slip: Callable[[Any], None], error: type[Exception], message: str) -> None:
    with pretended_cuda(), pytest.raises(error, match=message):
        forward_part(spoil=slip)

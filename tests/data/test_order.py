from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.data.order import WINDOW_BLOCKS, EpochOrder, Request, check_division, micro_batches, order
from mcdist.errors import ConfigError

SHAPES = dict(
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    num_samples=st.integers(1, 300),
    block=st.integers(1, 40),
    num_lanes=st.integers(1, 12),
)


@given(**SHAPES)
def test_an_epoch_shows_every_sample_exactly_once(**shape):
    assert sorted(order(**shape).tolist()) == list(range(shape["num_samples"]))


@given(**SHAPES)
def test_a_lane_reads_a_few_blocks_at_a_time(**shape):
    shown, block = order(**shape), shape["block"]
    for lane in range(shape["num_lanes"]):
        own = shown[lane :: shape["num_lanes"]]
        for start in range(0, len(own), WINDOW_BLOCKS * block):
            window = own[start : start + WINDOW_BLOCKS * block]
            # a window may begin and end inside a block, and may hold the last, shorter one
            assert len(set((window // block).tolist())) <= WINDOW_BLOCKS + 2


@given(**SHAPES)
def test_lanes_cut_no_more_blocks_than_there_are_cuts(**shape):
    shown, block = order(**shape), shape["block"]
    pairs = {(position % shape["num_lanes"], index // block) for position, index in enumerate(shown.tolist())}
    assert len(pairs) <= -(-shape["num_samples"] // block) + shape["num_lanes"] - 1


def naive_order(*, seed: int, epoch: int, num_samples: int, block: int, num_lanes: int) -> numpy.ndarray:
    """The definition in its plainest form: all words, all blocks and all lanes at once."""

    def words(stream: int, count: int) -> numpy.ndarray:
        return numpy.random.Philox(numpy.random.SeedSequence([stream, seed, epoch])).random_raw(count)

    blocks = numpy.argsort(words(1, -(-num_samples // block)), kind="stable")
    laid_out = [index for start in (blocks * block).tolist() for index in range(start, min(start + block, num_samples))]
    mixing = words(2, num_samples).tolist()
    shown = numpy.empty(num_samples, dtype=numpy.int64)
    start = 0
    for lane in range(num_lanes):
        own = range(start, start + len(shown[lane::num_lanes]))
        start = own.stop
        windows = [own[first : first + WINDOW_BLOCKS * block] for first in range(0, len(own), WINDOW_BLOCKS * block)]
        shown[lane::num_lanes] = [laid_out[place] for window in windows for place in sorted(window, key=mixing.__getitem__)]
    return shown


@given(**SHAPES)
def test_the_order_is_the_one_that_is_documented(**shape):
    assert order(**shape).tolist() == naive_order(**shape).tolist()


@given(st.data(), st.fixed_dictionaries(SHAPES))
def test_any_positions_are_found_without_the_rest_of_the_epoch(data, shape):
    positions = data.draw(st.lists(st.integers(0, shape["num_samples"] - 1), max_size=40))
    whole, asked = order(**shape), EpochOrder(**shape)
    for some in (positions, positions[::-1]):
        assert asked.at(numpy.array(some, dtype=numpy.int64)).tolist() == [whole[position] for position in some]


def test_an_epoch_of_a_billion_samples_costs_little():
    asked = EpochOrder(seed=0, epoch=3, num_samples=10**9, block=100_000, num_lanes=8)
    shown = asked.at(numpy.arange(10**9 - 8, 10**9))
    assert len(set(shown.tolist())) == 8
    assert shown.max() < 10**9
    assert asked._blocks.nbytes == 80_000


def test_the_order_never_changes_between_versions():
    assert order(seed=0, epoch=0, num_samples=12, block=3, num_lanes=2).tolist() == GOLDEN
    assert order(seed=7, epoch=2, num_samples=1000, block=64, num_lanes=8)[:8].tolist() == GOLDEN_HEAD


GOLDEN = [1, 9, 6, 3, 2, 5, 8, 4, 7, 10, 0, 11]
GOLDEN_HEAD = [945, 5, 63, 419, 239, 706, 851, 328]


def test_epochs_and_seeds_differ():
    shape = dict(num_samples=200, block=16, num_lanes=4)
    orders = {tuple(order(seed=seed, epoch=epoch, **shape).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@st.composite
def runs(draw):
    """A run with at least one number of ranks that fits."""
    num_ranks = draw(st.sampled_from([1, 2, 3, 4]))
    num_lanes = num_ranks * draw(st.integers(1, 3))
    accumulation_steps = draw(st.sampled_from([1, 2, 3]))
    return dict(
        seed=draw(st.integers(0, 100)),
        num_samples=draw(st.integers(1, 90)),
        block=draw(st.integers(1, 10)),
        num_lanes=num_lanes,
        global_batch=num_lanes * accumulation_steps * draw(st.integers(1, 3)),
        accumulation_steps=accumulation_steps,
        num_ranks=num_ranks,
        consumed=draw(st.integers(0, 400)),
        num_steps=draw(st.integers(0, 5)),
    )


def global_batches(run: dict, *, num_ranks: int, accumulation_steps: int = 1) -> list[list[Request]]:
    """The global batches of a run, put together again from every rank's micro-batches."""
    arguments = {**run, "num_ranks": num_ranks, "accumulation_steps": accumulation_steps}
    batches: list[list[Any]] = [[None] * run["global_batch"] for _ in range(run["num_steps"])]
    for rank in range(num_ranks):
        parts = list(micro_batches(rank=rank, **arguments))
        assert len(parts) == run["num_steps"] * accumulation_steps
        assert len({len(part) for part in parts}) <= 1
        for step in range(run["num_steps"]):
            batches[step][rank::num_ranks] = [request for part in parts[step * accumulation_steps :][:accumulation_steps] for request in part]
    return batches


@given(runs())
def test_ranks_and_accumulation_do_not_change_the_global_batches(run):
    assert global_batches(run, num_ranks=run["num_ranks"], accumulation_steps=run["accumulation_steps"]) == global_batches(run, num_ranks=1)


@given(runs(), st.integers(0, 5))
def test_a_run_stopped_after_any_step_continues_with_the_rest_on_any_number_of_ranks(run, stop):
    stop = min(stop, run["num_steps"])
    before = global_batches({**run, "num_steps": stop}, num_ranks=1)
    rest = {**run, "consumed": run["consumed"] + stop * run["global_batch"], "num_steps": run["num_steps"] - stop}
    assert before + global_batches(rest, num_ranks=run["num_ranks"]) == global_batches(run, num_ranks=1)


@settings(max_examples=30)
@given(runs(), st.integers(1, 3))
def test_every_sample_comes_once_an_epoch_though_batches_straddle_epochs(run, epochs):
    num_steps = -(-epochs * run["num_samples"] // run["global_batch"])
    whole = {**run, "consumed": 0, "num_steps": num_steps}
    seen = [request for batch in global_batches(whole, num_ranks=run["num_ranks"]) for request in batch][: epochs * run["num_samples"]]
    assert set(seen) == {Request(epoch, index) for epoch in range(epochs) for index in range(run["num_samples"])}
    assert [request.epoch for request in seen] == sorted(request.epoch for request in seen)


def test_a_lane_belongs_to_one_rank():
    run = dict(seed=1, num_samples=96, block=4, num_lanes=4, global_batch=8, accumulation_steps=1, num_ranks=2, consumed=0, num_steps=12)
    shown = order(seed=1, epoch=0, num_samples=96, block=4, num_lanes=4)
    for rank in range(2):
        seen = {request.index for part in micro_batches(rank=rank, **run) for request in part}
        assert seen == set(shown[rank::4].tolist()) | set(shown[rank + 2 :: 4].tolist())


def test_a_number_of_ranks_that_does_not_fit_is_told_the_ones_that_do():
    with pytest.raises(ConfigError, match=r"5 ranks cannot share 8 lanes .* numbers of ranks that can: 1, 2, 4, 8"):
        check_division(global_batch=64, accumulation_steps=2, num_lanes=8, num_ranks=5)
    with pytest.raises(ConfigError, match=r"numbers of ranks that can: 1, 2, 4$"):
        check_division(global_batch=16, accumulation_steps=4, num_lanes=8, num_ranks=8)
    with pytest.raises(ConfigError, match=r"num_lanes must be a divisor of optim.global_batch 10, got 4"):
        check_division(global_batch=10, accumulation_steps=1, num_lanes=4, num_ranks=1)

"""Micro-batches of any number of ranks: the photos held at a time stay, what does not come out even is refused with what does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.data.division import num_micro_batches
from mcdist.errors import ConfigError


def number(**changes: int) -> int:
    return num_micro_batches(**{"global_batch": 64, "micro_batch": 8, "accumulation_steps": 1, "num_lanes": 16, "num_ranks": 4, **changes})


@pytest.mark.parametrize(("num_ranks", "expected"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1)])
def test_fewer_ranks_accumulate_more_and_hold_no_more_photos(num_ranks: int, expected: int) -> None:
    assert number(num_ranks=num_ranks) == expected


def test_without_a_micro_batch_the_accumulation_is_as_it_is_set() -> None:
    assert number(micro_batch=0, accumulation_steps=2) == 2


def test_a_number_of_ranks_that_shares_nothing_equally_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match="3 ranks cannot share 16 lanes .* and 64 photos .* numbers of ranks that can: 1, 2, 4, 8, 16"):
        number(num_ranks=3)


def test_a_share_that_is_no_multiple_is_refused_with_what_fits() -> None:
    fitting = "numbers of ranks that fit: 8, 16; optim.micro_batch that fits 4 ranks: 1, 2, 4, 8, 16"
    with pytest.raises(ConfigError, match=f"the 16 photos of each of 4 ranks .* no multiple of optim.micro_batch 10; {fitting}"):
        number(micro_batch=10)


@given(lanes=st.integers(1, 12), times=st.integers(1, 8), micro_batch=st.integers(1, 40), num_ranks=st.integers(1, 12))
def test_every_answer_cuts_every_share_into_equal_parts_no_larger_than_asked(lanes: int, times: int, micro_batch: int, num_ranks: int) -> None:
    batch = lanes * times
    if lanes % num_ranks or (batch // num_ranks > micro_batch and batch // num_ranks % micro_batch):
        with pytest.raises(ConfigError, match="cannot share" if lanes % num_ranks else f"no multiple of optim.micro_batch {micro_batch};"):
            number(global_batch=batch, micro_batch=micro_batch, num_lanes=lanes, num_ranks=num_ranks)
        return
    steps = number(global_batch=batch, micro_batch=micro_batch, num_lanes=lanes, num_ranks=num_ranks)
    assert batch // num_ranks % steps == 0
    assert batch // num_ranks // steps <= micro_batch

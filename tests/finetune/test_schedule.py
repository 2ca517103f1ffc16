"""Which photos a step sees, and at which rate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.errors import ConfigError
from mcdist.finetune.schedule import Requests, check_ranks, epochs_schedule, steps_schedule
from mcdist.finetune.settings import TuneSettings


def small(**changes):
    return TuneSettings(**{"batch": 4, "num_epochs": 3, "drop_after": 1, **changes})


def all_requests(schedule, **changes):
    return list(Requests(**{"schedule": schedule, "seed": 0, "after_step": 0, "rank": 0, "num_ranks": 1, **changes}))


@settings(max_examples=20)
@given(st.integers(4, 40), st.integers(0, 5))
def test_an_epoch_shows_each_photo_once_and_drops_what_fills_no_batch(num_photos, seed):
    schedule = epochs_schedule(small(), num_photos=num_photos)
    steps = all_requests(schedule, seed=seed)
    assert len(steps) == schedule.num_steps == 3 * (num_photos // 4)
    for epoch in range(3):
        shown = [request for step in steps[epoch * schedule.epoch_steps : (epoch + 1) * schedule.epoch_steps] for request in step]
        assert {request.epoch for request in shown} == {epoch}
        assert len({request.index for request in shown}) == len(shown) == num_photos // 4 * 4


def test_epochs_have_orders_of_their_own():
    steps = all_requests(epochs_schedule(small(), num_photos=20))
    orders = [[request.index for step in steps[start : start + 5] for request in step] for start in (0, 5, 10)]
    assert len({tuple(order) for order in orders}) == 3 and all(sorted(order) == list(range(20)) for order in orders)


@pytest.mark.parametrize("num_photos", [2, 3, 7, 18])
def test_a_subset_takes_the_same_steps_and_fills_its_batches_across_passes(num_photos):
    schedule = steps_schedule(small(), num_photos=num_photos, num_photos_of_all=18)
    steps = all_requests(schedule)
    assert len(steps) == 12 and all(len(step) == 4 for step in steps) and schedule.drop_at == 4
    flat = [request for step in steps for request in step]
    for epoch in range(48 // num_photos):
        own = flat[epoch * num_photos : (epoch + 1) * num_photos]
        assert {request.epoch for request in own} == {epoch} and sorted(request.index for request in own) == list(range(num_photos))


@pytest.mark.parametrize("make", [lambda: epochs_schedule(small(), num_photos=11), lambda: steps_schedule(small(), num_photos=3, num_photos_of_all=11)])
def test_ranks_share_the_same_batches_and_a_later_start_sees_the_rest(make):
    schedule = make()
    whole = all_requests(schedule)
    for num_ranks in (2, 4):
        parts = [all_requests(schedule, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
        joined = [[part[step][place] for place in range(4 // num_ranks) for part in parts] for step in range(len(whole))]
        assert joined == whole
    for after_step in range(len(whole) + 1):
        requests = Requests(schedule=schedule, seed=0, after_step=after_step, rank=0, num_ranks=1)
        assert list(requests) == whole[after_step:] and len(requests) == len(whole) - after_step


def test_the_rate_falls_after_the_epoch_that_the_protocol_says():
    schedule = epochs_schedule(TuneSettings(), num_photos=10_582)
    assert (schedule.epoch_steps, schedule.num_steps, schedule.drop_at) == (661, 39_660, 16_525)
    assert schedule.lr_at(16_524) == 0.1 and schedule.lr_at(16_525) == pytest.approx(0.01)
    assert [step for step in range(2, 1400) if schedule.ends_epoch(step)] == [661, 1322]
    fraction = steps_schedule(TuneSettings(), num_photos=106, num_photos_of_all=10_582)
    assert (fraction.num_steps, fraction.drop_at) == (39_660, 16_525) and not fraction.ends_epoch(661)


def test_what_fills_no_batch_or_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match="at least the 4 labelled photos of a batch, got 3"):
        epochs_schedule(small(), num_photos=3)
    with pytest.raises(ConfigError, match="3 ranks cannot share a batch of 4 photos"):
        check_ranks(small(), num_ranks=3)
    check_ranks(small(), num_ranks=2)

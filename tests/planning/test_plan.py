"""Plans: what fits into the minutes that a person has, and what is usual for a number of photos."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.planning.costs import Costs
from mcdist.planning.plan import EPOCHS_MAX, EPOCHS_MIN, TrainingPlan, estimate_of, fitted, plan_for
from mcdist.workflows.discovery import STAGES

COSTS = Costs(
    start_s=20.0,
    propose_s=0.2,
    shard_s=0.01,
    zoom_s=0.04,
    view_s=0.08,
    step_s=0.006,
    embed_s=0.25,
    segment_s=0.12,
    shard_bytes=2e4,
    view_bytes=3.5e5,
    other_bytes=1e5,
)


def seconds(plan: TrainingPlan, *, num_photos: int) -> float:
    return estimate_of(COSTS, plan=plan, num_photos=num_photos, num_workers=2).total_s


@given(num_photos=st.integers(40, 20_000), minutes=st.floats(1, 500))
def test_a_plan_fits_where_any_does_and_is_the_shortest_where_none_does(num_photos, minutes):
    plan = fitted(COSTS, num_photos=num_photos, num_workers=2, budget_s=60 * minutes)
    shortest = TrainingPlan(epochs=EPOCHS_MIN, cached=1, zoom_views=1)
    assert EPOCHS_MIN <= plan.epochs <= EPOCHS_MAX
    if seconds(shortest, num_photos=num_photos) <= 60 * minutes:
        assert seconds(plan, num_photos=num_photos) <= 60 * minutes * 1.001
    else:
        assert (plan.epochs, plan.cached, plan.zoom_views) == (EPOCHS_MIN, 1, 1)


@given(num_photos=st.integers(40, 5_000), minutes=st.floats(1, 100))
def test_more_minutes_never_give_a_worse_training(num_photos, minutes):
    less, more = (fitted(COSTS, num_photos=num_photos, num_workers=2, budget_s=60 * share * minutes) for share in (1.0, 2.0))
    assert (more.cached, more.zoom_views) >= (less.cached, less.zoom_views)
    assert more.epochs >= less.epochs or more.cached > less.cached or more.zoom_views > less.zoom_views


@pytest.mark.parametrize(("num_photos", "batch", "lanes"), [(2, 1, 1), (10, 4, 4), (126, 32, 8), (591, 32, 8)])
def test_few_photos_have_a_small_batch(num_photos, batch, lanes):
    plan = plan_for(num_photos)
    assert (plan.global_batch, plan.num_lanes) == (batch, lanes)
    assert plan.global_batch % plan.num_lanes == 0


def test_the_usual_plan_is_that_of_the_configuration_for_photos():
    from mcdist.config.file import load_config
    from mcdist.config.presets import presets_folder

    config, plan = load_config(presets_folder() / "photos.yaml"), plan_for(600)
    assert (config.optim.epochs, config.views.cached, config.groups.zoom_views) == (plan.epochs, plan.cached, plan.zoom_views)
    assert (tuple(config.groups.num_groups), config.groups.choose) == (plan.num_groups, plan.choose_groups)
    assert (config.optim.global_batch, config.data.num_lanes) == (plan.global_batch, plan.num_lanes)


def test_groups_a_report_and_starts_of_workers_are_counted():
    plan, more = TrainingPlan(), replace(COSTS, group_s=0.01, report_s=7.0, worker_s=2.0)
    before, after = (estimate_of(costs, plan=plan, num_photos=100, num_workers=1).seconds for costs in (COSTS, more))
    added = {stage: round(after[stage] - before[stage], 6) for stage in after}
    assert added == {"proposals": 2.0, "shards": 0.0, "training": 100 * 0.01 + 3 * 2.0, "catalogue": 2.0, "report": 7.0, "segments": 2.0}
    assert list(after) == list(STAGES)


def test_workers_share_proposals_and_shards_only():
    one, two = (estimate_of(COSTS, plan=plan_for(600), num_photos=600, num_workers=num).seconds for num in (1, 2))
    assert two["proposals"] == one["proposals"] / 2 and two["training"] == one["training"]

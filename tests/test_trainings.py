"""Trainings of one setting as one evaluation."""

from dataclasses import replace

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.records import difference
from mcdist.records.trainings import pooled, same_photos
from tests.records_world import make_evaluation


def test_values_are_the_trainings_and_draws_their_mean() -> None:
    one, other = make_evaluation(50, 40), make_evaluation(54, 41)
    both = pooled([one, other])
    assert [row.values for row in both.rows] == [(50.0, 54.0), (40.0, 41.0)]
    assert numpy.allclose(both.rows[0].draws, numpy.mean([one.rows[0].draws, other.rows[0].draws], axis=0))
    assert both.rows[0].details["confusion"] == [[10, 2], [4, 12]] and both.rows[0].details["class_iou_percent"] == [52.0, 52.0]
    found = difference(both.rows[0], baseline=both.rows[1])
    assert (found.mean, found.std, found.word) == (11.5, 1.5, "clear")
    assert found.interval == pytest.approx((11.5, 11.5), abs=1e-4), "the noise of the photos is shared, so it cancels"


def test_other_photos_leave_no_draws_and_one_training_is_itself() -> None:
    one = make_evaluation(50, 40)
    assert pooled([one]) is one
    mixed = pooled([one, make_evaluation(54, 41, photos="q" * 64)])
    assert mixed.photos == "" and mixed.rows[0].draws == () and mixed.rows[0].interval is None
    assert not same_photos(replace(one, photos=""), other=replace(one, photos=""))


def test_rows_that_not_all_have_are_left_out_and_none_in_common_is_one_sentence() -> None:
    one = make_evaluation(50, 40)
    fewer = replace(make_evaluation(52, 41), rows=make_evaluation(52, 41).rows[1:], headline=0)
    both = pooled([one, fewer])
    assert len(both.rows) == 1 and both.headline == -1
    with pytest.raises(DataError, match="no row in common; give runs of one configuration"):
        pooled([one, make_evaluation(50, 40, protocol="object-graph")])
    with pytest.raises(DataError, match="no row in common"):
        pooled([])

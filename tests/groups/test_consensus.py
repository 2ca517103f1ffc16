"""Consensus: edges weigh what groupings agree on; it finds planted groups also beside poor views, and its spectrum says how many there are."""

import numpy
import pytest
import scipy.sparse

from mcdist.errors import ConfigError
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.consensus import agreeing
from mcdist.groups.cut import NO_GROUP
from mcdist.groups.find import find_groups
from mcdist.groups.record import Grouping
from mcdist.groups.settings import GroupSettings
from tests.groups.worlds import blobs, rows_of


def found(*views: numpy.ndarray, **settings: object) -> Grouping:
    quick = {"num_seeds": 2, "num_subsamples": 0, "centre": False, "neighbours": (5, 10), "consensus": (3, 6, 9, 12)}
    return find_groups(rows_of(*views), settings=GroupSettings(**{**quick, **settings}))  # type: ignore[arg-type]


def test_an_edge_weighs_the_share_of_groupings_that_agree_and_no_pair_without_an_edge_counts() -> None:
    random = numpy.random.default_rng(0)
    dense = random.uniform(size=(9, 9)) * (random.uniform(size=(9, 9)) < 0.5)
    dense = numpy.triu(dense, 1) + numpy.triu(dense, 1).T
    groupings = [random.integers(NO_GROUP, 3, size=9).astype(numpy.int32) for _ in range(7)]
    weights = agreeing(scipy.sparse.csr_array(dense), groupings=groupings, share_min=0.25).toarray()
    for row in range(9):
        for column in range(9):
            share = sum(group[row] == group[column] != NO_GROUP for group in groupings) / 7
            assert weights[row, column] == pytest.approx(share if dense[row, column] and share >= 0.25 else 0)


def test_planted_groups_are_found_and_the_gap_says_how_many() -> None:
    vectors, blob = blobs(600, num_blobs=6, noise=0.8)
    grouping = found(vectors, num_groups=(6,))
    assert adjusted_rand(grouping.of(6).group, other=blob) > 0.99
    assert grouping.facts.largest_gap == 6
    assert grouping.choice.num_neighbours == 10
    assert [row.num_neighbours for row in grouping.stability] == [10]


def test_views_that_see_the_groups_badly_do_not_drown_the_one_that_sees_them_well() -> None:
    vectors, blob = blobs(500, num_blobs=5, noise=1.0)
    poor = [blobs(500, num_blobs=5, noise=1.6, seed=seed)[0] for seed in (1, 2)]
    agreement = [adjusted_rand(found(view, num_groups=(5,), consensus=()).of(5).group, other=blob) for view in (vectors, *poor)]
    assert max(agreement[1:]) < 0.9
    assert adjusted_rand(found(vectors, *poor, num_groups=(5,), consensus=(5, 8, 12)).of(5).group, other=blob) > 0.98


def test_the_same_settings_give_the_same_groups_also_for_subsamples() -> None:
    vectors, _ = blobs(200, num_blobs=5, noise=1.0)
    first, again = (found(vectors, num_groups=(5, 8), num_subsamples=2) for _ in range(2))
    assert all(numpy.array_equal(one.group, other.group) for one, other in zip(first.sets, again.sets, strict=True))
    assert first.stability == again.stability
    assert all(row.subsample_agreement > 0.5 for row in first.stability)


def test_a_set_that_is_smaller_than_the_numbers_of_groups_still_has_groups() -> None:
    vectors, _ = blobs(7, num_blobs=3, noise=0.1)
    grouping = found(vectors, num_groups=(3,), consensus=(6, 25), neighbours=(3,))
    assert grouping.of(3).spread.num_ungrouped == 0


@pytest.mark.parametrize(
    ("settings", "message"), [({"consensus": (1,)}, "consensus must be different numbers of at least 2"), ({"consensus_min": 2.0}, "consensus_min must be")]
)
def test_wrong_settings_are_one_sentence(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GroupSettings(**settings)  # type: ignore[arg-type]


def test_as_many_groups_as_objects_are_called_that() -> None:
    vectors, _ = blobs(10, num_blobs=3)
    (sign,) = found(vectors, num_groups=(16,), neighbours=(3,)).of(16).signs_of_collapse[-1:]
    assert sign == "each of the 10 objects is a group of its own: ask for fewer groups than that, or give more photos"

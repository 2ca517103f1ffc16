"""The story of groups: planted groups are found where K-means on vectors fails; order, duplicates, photos and broken input follow stated rules."""

import math

import numpy
import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.clustering.kmeans import kmeans
from mcdist.groups.find import find_groups
from mcdist.groups.graph import neighbours as neighbours_module
from mcdist.groups.graph.rows import UnitRows, unit
from mcdist.groups.record import Grouping
from mcdist.groups.settings import GroupSettings
from mcdist.groups.stability import StabilityRow, choose
from tests.groups.worlds import blobs, moons, rows_of

QUICK = {"num_seeds": 2, "num_subsamples": 0}


def found(*views: numpy.ndarray, source_of: numpy.ndarray | None = None, **settings: object) -> Grouping:
    return find_groups(rows_of(*views), source_of=source_of, settings=GroupSettings(**{**QUICK, **settings}))  # type: ignore[arg-type]


@pytest.mark.parametrize("symmetry", ["maximum", "mutual"])
def test_two_moons_on_the_sphere_are_found_where_kmeans_on_the_vectors_fails(symmetry: str) -> None:
    vectors, moon = moons(400)
    group = found(vectors, num_groups=(2,), tau=0.001, symmetry=symmetry).of(2).group
    assert adjusted_rand(group, other=moon) > 0.95
    assert adjusted_rand(kmeans(unit(vectors)[0], num_clusters=2, seed=0), other=moon) < 0.6


@pytest.mark.parametrize("search", ["exact", "approximate"])
def test_planted_groups_are_found_for_several_numbers_at_once(search: str) -> None:
    vectors, blob = blobs(600, num_blobs=6, noise=0.8)
    grouping = found(vectors, num_groups=(3, 6, 12), search=search, centre=False)
    assert [len(set(made.group.tolist())) for made in grouping.sets] == [3, 6, 12]
    assert adjusted_rand(grouping.of(6).group, other=blob) > 0.99
    assert grouping.facts.search == search


def test_centring_finds_what_is_special_about_objects_that_have_much_in_common() -> None:
    vectors, blob = blobs(400, num_blobs=8, noise=0.8)
    common = vectors + 2 * numpy.ones(16, dtype=numpy.float32)
    one, other = (found(common, num_groups=(8,), centre=centre).of(8) for centre in (True, False))
    assert adjusted_rand(one.group, other=blob) > 0.95
    assert one.confidence.mean() > other.confidence.mean()


def test_the_mean_is_that_of_all_unit_vectors_of_each_view_also_for_some_of_the_rows() -> None:
    views = [blobs(40, num_blobs=4, num_dims=dims, seed=dims)[0] + 1 for dims in (8, 16)]
    rows = UnitRows(tuple(rows_of(*views))).centred()
    expected = [unit(unit(view)[0] - unit(view)[0].mean(axis=0))[0] for view in views]
    some = numpy.array([3, 30, 7])
    assert numpy.allclose(rows.subset(some).take(numpy.arange(3)), numpy.concatenate(expected, axis=1)[some] / 2**0.5, atol=1e-6)
    assert numpy.allclose(rows.alone(1).take(some), expected[1][some], atol=1e-6)


def test_vectors_that_differ_by_rounding_only_are_one_group() -> None:
    random = numpy.random.default_rng(0)
    equal = numpy.ones((50, 16), dtype=numpy.float32) + 1e-5 * random.normal(size=(50, 16)).astype(numpy.float32)
    grouping = found(equal, num_groups=(3,))
    assert grouping.of(3).spread.sizes == (50, 0, 0)
    assert grouping.of(3).signs_of_collapse


def test_the_same_settings_give_the_same_groups_and_another_order_the_same_partition() -> None:
    vectors, _ = blobs(300, num_blobs=5, noise=1.0)
    first, again = (found(vectors, num_groups=(5, 8), num_subsamples=2) for _ in range(2))
    for one, other in zip(first.sets, again.sets, strict=True):
        assert numpy.array_equal(one.group, other.group)
        assert numpy.array_equal(one.confidence, other.confidence)
    assert first.stability == again.stability
    order = numpy.random.default_rng(3).permutation(300)
    permuted = found(vectors[order], num_groups=(5,)).of(5)
    assert adjusted_rand(permuted.group, other=first.of(5).group[order]) == 1
    assert numpy.allclose(permuted.confidence, first.of(5).confidence[order], atol=0.02)


def test_a_second_view_helps_where_the_first_cannot_tell() -> None:
    """Three kinds: the first view knows the first from the others, the second view the last."""
    kind = numpy.arange(300) % 3
    random = numpy.random.default_rng(0)
    views = [(numpy.eye(64)[part] + 0.15 * random.normal(size=(300, 64))).astype(numpy.float32) for part in (numpy.minimum(kind, 1), kind // 2)]
    alone = max(adjusted_rand(found(view, num_groups=(3,), neighbours=(40,)).of(3).group, other=kind) for view in views)
    assert alone < 0.6
    assert adjusted_rand(found(*views, num_groups=(3,), neighbours=(40,)).of(3).group, other=kind) > 0.9


def test_objects_of_a_photo_are_in_one_group_only_where_their_vectors_say_so() -> None:
    """Each photo shows one object of every blob, with a direction of its own that they share."""
    photo, blob = numpy.arange(200) // 2, numpy.arange(200) % 2
    random = numpy.random.default_rng(0)
    own = random.normal(size=(100, 32))[photo]
    vectors = (numpy.eye(32)[blob] * 3 + own + 0.2 * random.normal(size=(200, 32))).astype(numpy.float32)
    excluded = adjusted_rand(found(vectors, source_of=photo, num_groups=(2,), neighbours=(3,)).of(2).group, other=blob)
    included = adjusted_rand(found(vectors, num_groups=(2,), neighbours=(3,)).of(2).group, other=blob)
    assert excluded > 0.9
    assert excluded >= included


def test_all_vectors_equal_are_one_group_and_counted() -> None:
    grouping = found(numpy.tile(numpy.array([[1, 2]], dtype=numpy.float32), (50, 1)), source_of=numpy.arange(50), num_groups=(3,))
    assert grouping.of(3).group.tolist() == [0] * 50
    assert (grouping.facts.num_nodes, grouping.facts.num_duplicates) == (1, 49)
    assert "the largest of 3 groups has 100 % of the objects" in grouping.of(3).signs_of_collapse


@pytest.mark.parametrize(("num_objects", "num_distinct"), [(1, 1), (2, 2), (3, 3)])
def test_one_two_and_three_objects_are_a_group_each(num_objects: int, num_distinct: int) -> None:
    grouping = found(blobs(num_objects, num_blobs=3)[0], num_subsamples=2)
    for made in grouping.sets:
        assert sorted(made.group.tolist()) == list(range(num_distinct))
    assert math.isnan(grouping.stability[0].subsample_agreement)


def test_two_objects_of_one_photo_and_a_photo_with_200_objects() -> None:
    with pytest.raises(DataError, match="all of the 2 objects come from one photo, so none may be a neighbour of another; give more photos"):
        found(blobs(2, num_blobs=2)[0], source_of=numpy.zeros(2, dtype=numpy.int64))
    vectors, blob = blobs(230, num_blobs=3, noise=0.3)
    grouping = found(vectors, source_of=numpy.maximum(numpy.arange(230) - 199, 0), num_groups=(3,))
    assert adjusted_rand(grouping.of(3).group, other=blob) > 0.9


def test_zero_vectors_have_no_group_and_are_counted() -> None:
    vectors = blobs(60, num_blobs=3)[0]
    vectors[[4, 9]] = 0
    grouping = found(vectors, num_groups=(3,))
    assert grouping.of(3).group[[4, 9]].tolist() == [-1, -1]
    assert grouping.of(3).confidence[[4, 9]].tolist() == [0, 0]
    assert (grouping.facts.num_without_direction, grouping.of(3).spread.num_ungrouped) == (2, 2)
    with pytest.raises(DataError, match="all of the 60 object vectors are zero, so none has a direction to compare"):
        found(numpy.zeros_like(vectors))


def test_vectors_that_are_not_finite_are_refused() -> None:
    vectors = blobs(60, num_blobs=3)[0]
    vectors[7, 2] = numpy.nan
    with pytest.raises(DataError, match=r"1 of 60 object vectors are not finite \(first: row 7\)"):
        found(vectors)


def test_a_graph_in_pieces_is_joined_and_the_pieces_are_counted() -> None:
    vectors, blob = blobs(120, num_blobs=6, noise=0.05)
    grouping = found(vectors, num_groups=(3, 6), neighbours=(5,))
    assert (grouping.facts.num_pieces, grouping.facts.num_left, grouping.facts.num_bridges) == (6, 1, 5)
    assert adjusted_rand(grouping.of(6).group, other=blob) == 1
    assert all(len(set(grouping.of(3).group[blob == piece].tolist())) == 1 for piece in range(6))


def test_an_object_that_fills_the_set_is_named() -> None:
    vectors = numpy.concatenate([numpy.tile(blobs(1, num_blobs=1)[0], (194, 1)), blobs(6, num_blobs=6, seed=9)[0]])
    grouping = found(vectors, num_groups=(3,), neighbours=(2,))
    assert (grouping.facts.num_nodes, grouping.facts.num_duplicates) == (7, 193)
    assert grouping.of(3).spread.largest_share >= 0.97
    assert grouping.of(3).signs_of_collapse[0].startswith("the largest of 3 groups has 9")


def test_the_stable_number_of_neighbours_and_groups_is_chosen_without_labels() -> None:
    vectors, _ = blobs(300, num_blobs=5, noise=1.3)
    grouping = found(vectors, neighbours=(5, 15), num_groups=(3, 5, 9), num_seeds=3, num_subsamples=3)
    assert len(grouping.stability) == 6
    assert grouping.choice.num_groups == 5
    assert grouping.chosen is grouping.of(5)
    assert "subsamples agree by" in grouping.choice.reason
    best = {row.num_groups: row.subsample_agreement for row in grouping.stability if row.num_neighbours == grouping.choice.num_neighbours}
    assert best[5] > 0.9 > best[9]


def test_as_many_groups_as_objects_are_neither_called_stable_nor_chosen() -> None:
    grouping = found(blobs(60, num_blobs=5, noise=1.3)[0], num_groups=(5, 50, 60), neighbours=(5,), num_seeds=2, num_subsamples=2)
    of = {row.num_groups: row for row in grouping.stability}
    assert math.isnan(of[60].seed_agreement) and math.isnan(of[60].subsample_agreement) and of[60].score == -1
    assert math.isnan(of[50].subsample_agreement)  # a subsample has 48 objects: each would be a group of its own
    assert of[5].subsample_agreement > 0.3
    assert choose([row(60, math.nan, std=math.nan, seeds=math.nan), row(5, 0.1)]).num_groups == 5


def row(num_groups: int, agreement: float, *, std: float = 0.05, gap: float = 0.1, seeds: float = 1.0) -> StabilityRow:
    return StabilityRow(num_neighbours=10, num_groups=num_groups, seed_agreement=seeds, subsample_agreement=agreement, subsample_std=std, eigengap=gap)


def test_of_equally_stable_settings_the_largest_eigengap_is_chosen() -> None:
    assert choose([row(3, 0.90), row(5, 0.88, gap=0.3), row(9, 0.5, gap=0.9)]).num_groups == 5
    alone = choose([row(3, 0.90), row(5, 0.80, gap=0.3)])
    assert (alone.num_groups, alone.reason) == (3, "subsamples agree by 0.90 (best 0.90), and no other setting is as stable")
    assert choose([row(5, 0.9), row(3, 0.9)]).num_groups == 3
    no_subsamples = choose([row(3, math.nan, std=math.nan, seeds=0.4), row(5, math.nan, std=math.nan, gap=math.nan, seeds=0.9)])
    assert (no_subsamples.num_groups, no_subsamples.reason[:19]) == (5, "seeds agree by 0.90")
    assert choose([row(7, 0.1)]).reason == "it is the only setting that was asked for"


def test_groups_that_were_not_made_are_named() -> None:
    with pytest.raises(ConfigError, match="there are no 7 groups; the numbers of groups that were made are 2, 4"):
        found(blobs(30, num_blobs=2)[0], num_groups=(2, 4)).of(7)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"neighbours": ()}, "neighbours must be different numbers of at least 1, got none"),
        ({"neighbours": (10, 10)}, "neighbours must be different numbers of at least 1, got 10, 10"),
        ({"num_groups": (0, 6)}, "groups must be different numbers of at least 1, got 0, 6"),
        ({"tau": 0.0}, "tau must be a number > 0, got 0.0"),
        ({"num_seeds": 0}, "num_seeds must be at least 1, got 0"),
        ({"num_subsamples": -1}, "num_subsamples must be at least 0, got -1"),
        ({"extra_dims": -1}, "extra_dims must be at least 0, got -1"),
        ({"subsample_share": 1.0}, "subsample_share must be between 0 and 1, got 1.0"),
    ],
)
def test_wrong_settings_are_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        GroupSettings(**change)  # type: ignore[arg-type]


def test_the_approximate_search_reports_its_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "PROBED_LISTS", 1)
    grouping = found(numpy.random.default_rng(0).normal(size=(500, 8)).astype(numpy.float32), search="approximate", num_groups=(4,))
    assert 0 < grouping.facts.recall < 1


def test_stages_are_told_in_order() -> None:
    stages: list[str] = []
    find_groups(rows_of(blobs(30, num_blobs=2)[0]), settings=GroupSettings(**QUICK), on_stage=stages.append)  # type: ignore[arg-type]
    assert stages == ["vectors", "neighbours", "graph and groups", "stability"]

"""Names: actions lead from one value to the next, and back."""

from collections.abc import Callable

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.catalogue.names import STEPS_MAX, Names, clean_name
from mcdist.errors import ConfigError

START = Names(catalogue="key", num_clusters=5, num_objects=20)
CENTROIDS = numpy.eye(6, dtype=numpy.float32)

Action = Callable[[Names], Names]

clusters = st.integers(0, 9)
rows = st.sets(st.integers(0, 19), min_size=1, max_size=5)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(lambda cluster, name: lambda names: names.name(cluster, name), clusters, st.sampled_from(["cat", "dog", "a b", "background", ""])),
    st.builds(lambda cluster, into: lambda names: names.merge(cluster, into=into), clusters, clusters),
    st.builds(lambda cluster: lambda names: names.separate(cluster), clusters),
    st.builds(lambda cluster, parts: lambda names: names.split(cluster, centroids=CENTROIDS[:parts]), clusters, st.integers(2, 3)),
    st.builds(lambda chosen: lambda names: names.reject(chosen), rows),
    st.builds(lambda chosen: lambda names: names.restore(chosen), rows),
)


def walked(listed: list[Action]) -> list[Names]:
    """Every state on the way; an action that makes no sense leaves none."""
    states = [START]
    for action in listed:
        try:
            after = action(states[-1])
        except ConfigError:
            continue
        if after is not states[-1]:
            states.append(after)
    return states


def same(one: Names, other: Names) -> bool:
    return one.now == other.now and one.now.same_order(other.now)


@given(st.lists(actions, max_size=12))
def test_undo_of_any_sequence_goes_back_through_every_state_and_redo_forth_again(listed):
    states = walked(listed)
    names = states[-1]
    for state in reversed(states[:-1]):
        names = names.undo()
        assert same(names, state)
    for state in states[1:]:
        names = names.redo()
        assert same(names, state)
    assert names.revision == 3 * (len(states) - 1)


@given(st.lists(actions, max_size=12))
def test_every_state_has_each_object_in_one_cluster_and_each_cluster_in_one_class(listed):
    names = walked(listed)[-1]
    leaves = names.leaves
    assert len(set(leaves)) == len(leaves)
    assert set(names.now.merged) | set(names.now.merged.values()) | set(names.now.names) <= set(leaves)
    assert sorted(leaf for root in {names.root(leaf) for leaf in leaves} for leaf in names.members(root)) == sorted(leaves)
    assert not set(names.now.names) & set(names.now.merged)


def test_a_new_action_after_undo_cannot_be_followed_by_redo():
    names = START.name(0, "cat").undo().name(1, "dog")
    with pytest.raises(ConfigError, match="nothing to redo"):
        names.redo()
    with pytest.raises(ConfigError, match="nothing to undo"):
        START.undo()


def test_an_action_that_changes_nothing_is_no_step():
    named = START.name(0, "cat")
    assert named.name(0, " cat ") is named


def test_only_so_many_actions_can_be_undone():
    names = START
    for place in range(STEPS_MAX + 5):
        names = names.name(0, f"name {place}")
    assert len(names.back) == STEPS_MAX


def test_a_merged_cluster_has_the_name_of_the_one_it_was_merged_into_or_gives_it_its_own():
    assert START.name(0, "cat").merge(1, into=0).name_of(1) == "cat"
    given_name = START.name(1, "dog").merge(1, into=0)
    assert given_name.name_of(0) == given_name.name_of(1) == "dog"
    assert given_name.members(0) == (0, 1)
    both = START.name(0, "cat").name(1, "dog").merge(1, into=0)
    assert both.name_of(1) == "cat"
    chain = both.merge(0, into=2)
    assert chain.members(2) == (0, 1, 2) and chain.name_of(2) == "cat"


def test_separated_clusters_keep_their_common_name():
    apart = START.name(0, "cat").merge(1, into=0).separate(1)
    assert (apart.name_of(0), apart.name_of(1), apart.members(0)) == ("cat", "cat", (0,))


def test_the_parts_of_a_split_keep_the_name_until_they_get_their_own():
    names = START.name(2, "cat").split(2, centroids=CENTROIDS[:2])
    assert names.leaves == (0, 1, 3, 4, 5, 6)
    assert (names.name_of(5), names.name_of(6)) == ("cat", "cat")
    assert names.name(6, "dog").name_of(5) == "cat"


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (lambda names: names.name(9, "cat"), "no cluster 9"),
        (lambda names: names.name(0, "x" * 81), "at most 80 characters"),
        (lambda names: names.name(0, "a\u202eb"), "control characters"),
        (lambda names: names.name(0, "a\x00b"), "control characters"),
        (lambda names: names.name(0, "unnamed cluster 3"), "choose another"),
        (lambda names: names.merge(1, into=1), "one already"),
        (lambda names: names.separate(1), "merged with none"),
        (lambda names: names.split(0, centroids=CENTROIDS[:1]), "split into 2 to"),
        (lambda names: names.merge(0, into=1).split(0, centroids=CENTROIDS[:2]), "separate them before"),
        (lambda names: names.split(0, centroids=CENTROIDS[:2]).name(0, "cat"), "was split"),
        (lambda names: names.reject([20]), "no object 20"),
        (lambda names: names.reject([-1, 3]), "no object -1"),
        (lambda names: names.reject([]), "no object was chosen"),
        (lambda names: names.reject([1]).reject([1]), "rejected already"),
        (lambda names: names.restore([1]), "not rejected"),
    ],
)
def test_an_action_that_makes_no_sense_says_why(action: Action, why: str):
    with pytest.raises(ConfigError, match=why):
        action(START)


def test_a_name_is_composed_and_single_spaced():
    assert clean_name("  cafe\u0301   au lait ") == "café au lait"
    assert clean_name("<img src=x onerror=alert(1)>") == "<img src=x onerror=alert(1)>"


def test_background_is_one_class_however_it_is_written():
    names = START.name(0, "Background").name(1, " BACKGROUND").name(2, "background")
    assert list(names.now.names.values()) == ["background"] * 3


def test_too_many_clusters_are_refused():
    many = Names(catalogue="key", num_clusters=254, num_objects=1)
    with pytest.raises(ConfigError, match="254 clusters at most"):
        many.split(0, centroids=CENTROIDS[:2])

"""Which numbers of groups are candidates, and which of them training takes."""

import pytest

from mcdist.groups.stability import Choice, candidates, sets_of


@pytest.mark.parametrize(
    ("num_objects", "want"),
    [(1_000, (4, 8, 16)), (79, (4, 8)), (40, (4, 8)), (20, (4,)), (19, (2,)), (1, (2,))],
)
def test_a_group_has_five_objects_on_average_and_there_are_two_groups_at_least(num_objects: int, want: tuple[int, ...]) -> None:
    assert candidates((16, 4, 8), num_objects=num_objects) == want


@pytest.mark.parametrize(("number", "want"), [(4, [4, 8]), (8, [8]), (5, [5])])
def test_the_chosen_number_comes_with_its_double_where_that_is_a_candidate(number: int, want: list[int]) -> None:
    assert sets_of(Choice(10, number, "it is stable"), num_groups=(4, 5, 8)) == want

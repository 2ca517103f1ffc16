"""Rounds: the groups that a run learnt from, round by round, as the lines of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from mcdist.groups.file import MANIFEST_NAME, read_groups
from mcdist.groups.record import Grouping, GroupSet


@dataclass(frozen=True, slots=True)
class RoundLine:
    """One set of groups of one round. `stability`: agreement of subsamples with the whole, of seeds where there were no subsamples (adjusted Rand index)."""

    round: int
    num_groups: int
    num_neighbours: int
    num_objects: int
    num_ungrouped: int
    entropy: float
    largest_percent: float
    stability: float
    warnings: tuple[str, ...]


def round_lines(folder: Path) -> list[RoundLine]:
    """The lines of `folder`, which holds `round_NN/groups/` of each round; none where training used no groups.

    Raises:
        DataError: groups that are there are damaged.
    """
    lines = []
    for place, path in enumerate(sorted(folder.glob(f"round_*/groups/{MANIFEST_NAME}"))):
        grouping = read_groups(path.parent).grouping
        lines += [_line(found, place=place, grouping=grouping) for found in grouping.sets]
    return lines


def choices(folder: Path, *, learnt: Sequence[int]) -> list[str]:
    """Which number of groups was chosen, and why, of each round of `folder` whose groups were made for several numbers, of which training `learnt` some.

    Raises:
        DataError: groups that are there are damaged.
    """
    groupings = [read_groups(path.parent).grouping for path in sorted(folder.glob(f"round_*/groups/{MANIFEST_NAME}"))]
    return [
        f"{one.choice.num_groups} of {', '.join(str(found.num_groups) for found in one.sets)} were chosen without labels: {one.choice.reason}"
        for one in groupings
        if learnt and set(learnt) < {found.num_groups for found in one.sets}
    ]


def _line(found: GroupSet, *, place: int, grouping: Grouping) -> RoundLine:
    spread, num_neighbours = found.spread, grouping.choice.num_neighbours
    measured = [row.subsample_agreement for row in grouping.stability if (row.num_neighbours, row.num_groups) == (num_neighbours, found.num_groups)]
    known = [agreement for agreement in measured if not isnan(agreement)]
    return RoundLine(
        round=place + 1,
        num_groups=found.num_groups,
        num_neighbours=num_neighbours,
        num_objects=grouping.facts.num_objects,
        num_ungrouped=spread.num_ungrouped,
        entropy=spread.entropy,
        largest_percent=100 * spread.largest_share,
        stability=known[0] if known else found.seed_agreement,
        warnings=found.signs_of_collapse,
    )

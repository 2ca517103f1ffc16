"""Spread: how objects are spread over groups, and in words where that looks like a collapse."""

from dataclasses import dataclass
from math import log

import numpy
from jaxtyping import Int

LARGEST_SHARE_MAX = 0.5
ENTROPY_MIN = 0.5
AGREEMENT_MIN = 0.5
UNGROUPED_SHARE_MAX = 0.1


@dataclass(frozen=True, slots=True)
class Spread:
    """`sizes`: objects of each group, empty ones too. `num_ungrouped`: objects without a group."""

    sizes: tuple[int, ...]
    num_ungrouped: int

    @property
    def num_grouped(self) -> int:
        """Objects with a group."""
        return sum(self.sizes)

    @property
    def entropy(self) -> float:
        """Of the sizes, as a share of the most that so many groups can have: 1 all the same size, 0 all objects in one group. 1 where one was asked for."""
        if len(self.sizes) < 2 or not self.num_grouped:
            return 1.0 if self.num_grouped else 0.0
        shares = [size / self.num_grouped for size in self.sizes if size]
        return max(0.0, -sum(share * log(share) for share in shares) / log(len(self.sizes)))

    @property
    def largest_share(self) -> float:
        """Of the objects with a group."""
        return max(self.sizes, default=0) / max(1, self.num_grouped)

    @property
    def num_empty(self) -> int:
        """Groups without an object."""
        return sum(size == 0 for size in self.sizes)


def spread_of(groups: Int[numpy.ndarray, " N"], *, num_groups: int) -> Spread:
    """Count the objects of each group; negative numbers are objects without one."""
    sizes = numpy.bincount(groups[groups >= 0], minlength=num_groups)
    return Spread(sizes=tuple(sizes.tolist()), num_ungrouped=int((groups < 0).sum()))


def signs_of_collapse(spread: Spread, *, agreement: float) -> tuple[str, ...]:
    """In words what is wrong with groups; nothing where they look sound. `agreement`: between seeds, an adjusted Rand index."""
    num_groups, num_objects = len(spread.sizes), spread.num_grouped + spread.num_ungrouped
    signs = []
    if num_groups > 2 and spread.largest_share > LARGEST_SHARE_MAX:
        signs.append(f"the largest of {num_groups} groups has {100 * spread.largest_share:.0f} % of the objects")
    if num_groups > 1 and spread.entropy < ENTROPY_MIN:
        signs.append(f"the entropy of the sizes is {spread.entropy:.2f} of the most that {num_groups} groups can have")
    if num_groups > 1 and 1 < spread.num_grouped <= num_groups and max(spread.sizes) == 1:
        signs.append(f"each of the {spread.num_grouped} objects is a group of its own: ask for fewer groups than that, or give more photos")
    elif spread.num_empty:
        signs.append(f"{spread.num_empty} of {num_groups} groups are empty")
    if spread.num_ungrouped > UNGROUPED_SHARE_MAX * num_objects:
        signs.append(f"{spread.num_ungrouped:,} of {num_objects:,} objects have no group")
    if agreement < AGREEMENT_MIN:
        signs.append(f"seeds agree by {agreement:.2f} only (adjusted Rand index)")
    return tuple(signs)

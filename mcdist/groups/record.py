"""Groups: which group each object of a store belongs to, for every number of groups that was asked for. What training, the report and people read."""

from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float, Int

from mcdist.errors import ConfigError, DataError
from mcdist.groups.settings import GroupSettings
from mcdist.groups.spread import Spread, signs_of_collapse, spread_of
from mcdist.groups.stability import Choice, StabilityRow


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the graph of the chosen k was like; counts of objects, nodes, edges and pieces as docs/groups.md defines them.

    `largest_gap`: the number of groups after which the eigenvalues fall most."""

    num_objects: int
    num_nodes: int
    num_duplicates: int
    num_without_direction: int
    num_isolated: int
    num_edges: int
    largest_gap: int
    num_pieces: int
    num_bridges: int
    num_left: int
    search: str
    recall: float
    num_completed: int


@dataclass(frozen=True, slots=True)
class GroupSet:
    """One number of groups. `group [N]`: each object's, from 0, the largest first, -1 for none. `confidence [N]`: 0..1, see `mcdist.groups.cut`."""

    num_groups: int
    group: Int[numpy.ndarray, " N"]
    confidence: Float[numpy.ndarray, " N"]
    seed_agreement: float

    @property
    def spread(self) -> Spread:
        """Sizes and entropy."""
        return spread_of(self.group, num_groups=self.num_groups)

    @property
    def signs_of_collapse(self) -> tuple[str, ...]:
        """In words; empty for groups that look sound."""
        return signs_of_collapse(self.spread, agreement=self.seed_agreement)


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups of a set of objects, of the graph with the chosen number of neighbours; the table of stability and the choice."""

    settings: GroupSettings
    facts: GraphFacts
    sets: tuple[GroupSet, ...]
    stability: tuple[StabilityRow, ...]
    choice: Choice

    @property
    def chosen(self) -> GroupSet:
        """The set with the chosen number of groups."""
        return self.of(self.choice.num_groups)

    def of(self, num_groups: int) -> GroupSet:
        """The set of one number of groups; ConfigError names those that there are."""
        for found in self.sets:
            if found.num_groups == num_groups:
                return found
        listed = ", ".join(str(found.num_groups) for found in self.sets)
        raise ConfigError(f"there are no {num_groups} groups; the numbers of groups that were made are {listed}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the object vectors came from: a store's digest, a table and columns; `excluded_by` is the column whose equal values are never neighbours."""

    store: str
    table: str
    columns: tuple[str, ...]
    excluded_by: str = ""


@dataclass(frozen=True, slots=True)
class Groups:
    """A grouping, and the store whose table its rows are those of."""

    source: Source
    grouping: Grouping

    def check(self, *, store: str, num_objects: int, where: Any) -> "Groups":
        """Itself; DataError where the store at hand is another one than that of these groups."""
        if store != self.source.store or num_objects != self.grouping.facts.num_objects:
            raise DataError(
                f"{where} holds groups of {self.grouping.facts.num_objects:,} objects of the store {self.source.store[:12]}…, "
                f"this store is {store[:12]}… with {num_objects:,}; run mcdist group again"
            )
        return self

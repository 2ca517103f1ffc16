"""Stability: which setting of the graph comes out the same again. A choice without labels, with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy
from jaxtyping import Int

from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.consensus import graphs_to_cut
from mcdist.groups.cut import cut
from mcdist.groups.graph.graph import search_views
from mcdist.groups.graph.nodes import Nodes
from mcdist.groups.graph.spectrum import leading_spectrum
from mcdist.groups.settings import GroupSettings

SUBSAMPLE_NODES_MAX = 5_000
NUM_NODES_MIN = 4
"""Of fewer nodes a subsample says nothing."""
OBJECTS_A_GROUP = 5
LEAST_GROUPS = 2

Groupings = Mapping[tuple[int, int], Int[numpy.ndarray, " M"]]
"""(k, K) -> group of each node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityRow:
    """One setting. Agreements are adjusted Rand indices: 1 the same groups, 0 as by chance.

    `subsample_agreement`: mean over graphs of some of the nodes, each compared with the graph of all on the nodes they share; `subsample_std` its
    standard deviation. What cannot be had is nan; where there are as many groups as nodes nothing can, since those agree whatever the graph.
    """

    num_neighbours: int
    num_groups: int
    seed_agreement: float
    subsample_agreement: float
    subsample_std: float
    eigengap: float

    @property
    def score(self) -> float:
        """What is compared: the agreement of subsamples, or of seeds where there is none; -1, as for the worst, where there is neither."""
        known = [agreement for agreement in (self.subsample_agreement, self.seed_agreement) if not isnan(agreement)]
        return known[0] if known else -1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen setting, and why, in words."""

    num_neighbours: int
    num_groups: int
    reason: str


def subsample_agreements(nodes: Nodes, *, groupings: Groupings, settings: GroupSettings) -> dict[tuple[int, int], list[float]]:
    """For each (k, K) the agreement of each subsample's groups with those of the whole graph. Deterministic for the settings' seed.

    A subsample has `subsample_share` of the nodes, at most SUBSAMPLE_NODES_MAX, and a graph of its own: neighbours, bridges, spectrum and cut.
    """
    agreements: dict[tuple[int, int], list[float]] = {setting: [] for setting in groupings}
    num_nodes = len(nodes.vectors)
    size = min(int(settings.subsample_share * num_nodes), SUBSAMPLE_NODES_MAX)
    if num_nodes < NUM_NODES_MIN:
        return agreements
    for number in range(settings.num_subsamples):
        random = numpy.random.default_rng([settings.seed, number])
        chosen = numpy.sort(random.choice(num_nodes, size=size, replace=False))
        for setting, group in _groups_of_some(nodes, chosen=chosen, settings=settings).items():
            whole = groupings[setting][chosen]
            both = (group >= 0) & (whole >= 0)
            if both.any() and setting[1] < size:
                agreements[setting].append(adjusted_rand(group[both], other=whole[both]))
    return agreements


def stability_row(setting: tuple[int, int], *, num_nodes: int, seed_agreement: float, agreements: Sequence[float], eigengap: float) -> StabilityRow:
    """A row of the table of a graph of `num_nodes`."""
    return StabilityRow(
        num_neighbours=setting[0],
        num_groups=setting[1],
        seed_agreement=seed_agreement if setting[1] < num_nodes else nan,
        subsample_agreement=float(numpy.mean(agreements)) if agreements else nan,
        subsample_std=float(numpy.std(agreements)) if agreements else nan,
        eigengap=eigengap,
    )


def choose(rows: Sequence[StabilityRow]) -> Choice:
    """Of the settings that are as stable as the best one, within its standard deviation, the one with the largest eigengap; then the smaller K and k."""
    if len(rows) == 1:
        return Choice(rows[0].num_neighbours, rows[0].num_groups, "it is the only setting that was asked for")
    best = max(rows, key=lambda row: row.score)
    least = best.score - (0 if isnan(best.subsample_std) else best.subsample_std)
    as_stable = [row for row in rows if row.score >= least]
    chosen = min(as_stable, key=lambda row: (-_or_zero(row.eigengap), row.num_groups, row.num_neighbours))
    measured = "seeds" if isnan(best.subsample_agreement) else "subsamples"
    agreed = f"{measured} agree by {chosen.score:.2f} (best {best.score:.2f})"
    if len(as_stable) == 1:
        return Choice(chosen.num_neighbours, chosen.num_groups, f"{agreed}, and no other setting is as stable")
    gap = f"of {len(as_stable)} settings as stable as the best its eigengap is the largest, {_or_zero(chosen.eigengap):.4f}"
    return Choice(chosen.num_neighbours, chosen.num_groups, f"{agreed}, and {gap}")


def candidates(num_groups: Sequence[int], *, num_objects: int) -> tuple[int, ...]:
    """Those of `num_groups`, ascending, whose groups would have OBJECTS_A_GROUP objects or more on average; LEAST_GROUPS where there is none."""
    enough = tuple(sorted(number for number in num_groups if number * OBJECTS_A_GROUP <= num_objects))
    return enough or (LEAST_GROUPS,)


def sets_of(choice: Choice, *, num_groups: Sequence[int]) -> list[int]:
    """The chosen number of groups, and twice that number where it is among `num_groups`: an overclustering beside it keeps finer differences apart."""
    return [number for number in (choice.num_groups, 2 * choice.num_groups) if number in num_groups]


def _groups_of_some(nodes: Nodes, *, chosen: Int[numpy.ndarray, " S"], settings: GroupSettings) -> dict[tuple[int, int], Int[numpy.ndarray, " S"]]:
    vectors, source_of = nodes.vectors.subset(chosen), nodes.source_of[chosen]
    found = {}
    for graph in graphs_to_cut(search_views(vectors, source_of=source_of, settings=settings), vectors=vectors, source_of=source_of, settings=settings):
        spectrum = leading_spectrum(graph.matrix, num=settings.num_eigenvectors, seed=settings.seed)
        for num_groups in settings.num_groups:
            seeds = [settings.seed]
            found[graph.num_neighbours, num_groups] = cut(spectrum, num_groups=num_groups, seeds=seeds, extra_dims=settings.extra_dims).group
    return found


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value

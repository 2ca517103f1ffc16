"""The story of groups: objects, their neighbours, a graph, its spectrum, a cut for each number of groups, and which setting is stable."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy
from jaxtyping import Int

from mcdist.errors import DataError
from mcdist.groups.consensus import graphs_to_cut
from mcdist.groups.cut import NO_GROUP, Cut, cut, largest_first
from mcdist.groups.graph.graph import ObjectGraph, search_views
from mcdist.groups.graph.neighbours import Neighbours
from mcdist.groups.graph.nodes import Nodes, centred, make_nodes
from mcdist.groups.graph.rows import Rows
from mcdist.groups.graph.spectrum import Spectrum, leading_spectrum
from mcdist.groups.record import GraphFacts, Grouping, GroupSet
from mcdist.groups.settings import GroupSettings
from mcdist.groups.stability import StabilityRow, choose, stability_row, subsample_agreements

Setting = tuple[int, int]


def find_groups(
    views: Sequence[Rows],
    *,
    source_of: Int[numpy.ndarray, " N"] | None = None,
    settings: GroupSettings | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Grouping:
    """Groups of N objects by a graph over their vectors.

    Args:
        views: one or more kinds of vectors of the same objects; the affinities of several are averaged.
        source_of: objects with the same number, those of one photo, are never neighbours.
        settings: k, K and the rest; the defaults where it is None.
        on_stage: called with the name of each stage as it begins.

    Returns:
        Groups for every K, of the graph with the chosen k. Deterministic: the same vectors and settings give the same groups on one machine.

    Raises:
        ConfigError: views or sources of other lengths.
        DataError: no objects, vectors that are not finite, none with a direction, or all of one source.
        MissingExtraError: no FAISS is installed.
    """
    settings = settings or GroupSettings()
    on_stage("vectors")
    nodes = make_nodes(views, source_of=source_of)
    _require_nodes(nodes)
    if settings.centre:
        nodes = centred(nodes)
    on_stage("neighbours")
    lists = search_views(nodes.vectors, source_of=nodes.source_of, settings=settings)
    on_stage("graph and groups")
    graphs, spectra, cuts = _cut_all(nodes, lists=lists, settings=settings)
    on_stage("stability")
    rows = _stability(nodes, spectra=spectra, cuts=cuts, settings=settings)
    choice = choose(rows)
    sets = tuple(_set(cuts[choice.num_neighbours, num], nodes=nodes, num_groups=num) for num in settings.num_groups)
    facts = _facts(nodes, graph=graphs[choice.num_neighbours], largest_gap=spectra[choice.num_neighbours].largest_gap, lists=lists)
    return Grouping(settings=settings, facts=facts, sets=sets, stability=rows, choice=choice)


def _require_nodes(nodes: Nodes) -> None:
    num_objects, num_nodes = len(nodes.node_of), len(nodes.vectors)
    if num_nodes == 0:
        raise DataError(f"all of the {num_objects:,} object vectors are zero, so none has a direction to compare; extract the features again")
    if num_nodes > 1 and nodes.source_of.max() == 0:
        raise DataError(f"all of the {num_objects:,} objects come from one photo, so none may be a neighbour of another; give more photos")


def _cut_all(nodes: Nodes, *, lists: list[Neighbours], settings: GroupSettings) -> tuple[dict[int, ObjectGraph], dict[int, Spectrum], dict[Setting, Cut]]:
    """(graph without its matrix and spectrum without its vectors for each k, cut for each k and K)."""
    graphs, spectra, cuts = {}, {}, {}
    for graph in graphs_to_cut(lists, vectors=nodes.vectors, source_of=nodes.source_of, settings=settings):
        spectrum = leading_spectrum(graph.matrix, num=settings.num_eigenvectors, seed=settings.seed)
        for num_groups in settings.num_groups:
            cuts[graph.num_neighbours, num_groups] = cut(spectrum, num_groups=num_groups, seeds=settings.seeds, extra_dims=settings.extra_dims)
        graphs[graph.num_neighbours] = replace(graph, matrix=None)
        spectra[graph.num_neighbours] = replace(spectrum, vectors=spectrum.vectors[:0])
    return graphs, spectra, cuts


def _stability(nodes: Nodes, *, spectra: dict[int, Spectrum], cuts: dict[Setting, Cut], settings: GroupSettings) -> tuple[StabilityRow, ...]:
    agreements = subsample_agreements(nodes, groupings={setting: found.group for setting, found in cuts.items()}, settings=settings)
    return tuple(
        stability_row(
            (k, num),
            num_nodes=len(nodes.vectors),
            seed_agreement=found.seed_agreement,
            agreements=agreements[k, num],
            eigengap=spectra[k].eigengap(num_groups=num),
        )
        for (k, num), found in cuts.items()
    )


def _set(found: Cut, *, nodes: Nodes, num_groups: int) -> GroupSet:
    """From nodes to objects."""
    group = numpy.where(nodes.node_of >= 0, found.group[nodes.node_of], NO_GROUP).astype(numpy.int32)
    confidence = numpy.where(nodes.node_of >= 0, found.confidence[nodes.node_of], 0).astype(numpy.float32)
    return GroupSet(num_groups=num_groups, group=largest_first(group, num_groups=num_groups), confidence=confidence, seed_agreement=found.seed_agreement)


def _facts(nodes: Nodes, *, graph: ObjectGraph, largest_gap: int, lists: list[Neighbours]) -> GraphFacts:
    return GraphFacts(
        num_objects=len(nodes.node_of),
        num_nodes=len(nodes.vectors),
        num_duplicates=nodes.num_duplicates,
        num_without_direction=nodes.num_without_direction,
        num_isolated=graph.num_isolated if len(nodes.vectors) > 1 else 0,
        num_edges=graph.num_edges,
        largest_gap=largest_gap,
        num_pieces=graph.num_pieces,
        num_bridges=graph.num_bridges,
        num_left=graph.num_left,
        search=lists[0].method,
        recall=min(one.recall for one in lists),
        num_completed=sum(one.num_completed for one in lists),
    )

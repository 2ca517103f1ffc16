"""mcdist group: objects of a feature store to groups, by a graph over their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcdist.cli.option_groups import spread
from mcdist.errors import ConfigError
from mcdist.groups.settings import DEFAULTS, GroupSettings

if TYPE_CHECKING:
    from mcdist.groups.record import Grouping

SIZES_SHOWN = 30
"""Of the groups of one set, in what is printed."""

KIND = "unit-mean/initial backbone"
"""What a run started from; the names are those of `mcdist.records.names`, which imports too much for --help."""


class Symmetry(StrEnum):
    """Which neighbours make an edge."""

    maximum = "maximum"
    mutual = "mutual"


class Search(StrEnum):
    """How neighbours are found."""

    auto = "auto"
    exact = "exact"
    approximate = "approximate"


def _joined(numbers: tuple[int, ...]) -> str:
    """The inverse of `_numbers`."""
    return ",".join(map(str, numbers))


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """The switches of the graph; `mcdist.groups.settings` is the home of the defaults."""

    neighbours: Annotated[str, typer.Option(metavar="K[,K...]", help="Nearest neighbours; of several the most stable is chosen, without labels.")] = _joined(
        DEFAULTS.neighbours
    )
    groups: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of groups, all from one decomposition.")] = _joined(DEFAULTS.num_groups)
    tau: Annotated[float, typer.Option(help="Of the weight exp((cosine - 1) / tau).")] = DEFAULTS.tau
    symmetry: Annotated[Symmetry, typer.Option(help="An edge where one is a neighbour of the other, or only where both are.")] = Symmetry(DEFAULTS.symmetry)
    search: Annotated[Search, typer.Option(help="auto: exact up to 30,000 objects.")] = Search(DEFAULTS.search)
    consensus: Annotated[
        str, typer.Option(metavar="N[,N...]", help='Numbers of groups whose agreement over all kinds and k makes the graph, such as 6,8,12,16,25; "" for none.')
    ] = _joined(DEFAULTS.consensus)
    consensus_min: Annotated[float, typer.Option(help="Share of those groupings that an edge needs.")] = DEFAULTS.consensus_min
    extra_dims: Annotated[int, typer.Option(help="Eigenvectors to cluster beyond the number of groups.")] = DEFAULTS.extra_dims
    seeds: Annotated[int, typer.Option(help="Runs of K-means; the best one counts.")] = DEFAULTS.num_seeds
    centre: Annotated[bool, typer.Option("--centre/--no-centre", help="Take the mean of all vectors off each, and compare what is left.")] = DEFAULTS.centre
    subsamples: Annotated[int, typer.Option(help="Graphs of 80 % of the objects that measure stability; 0 for none.")] = DEFAULTS.num_subsamples
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = DEFAULTS.seed


@spread
def group_command(
    source: Annotated[Path, typer.Argument(metavar="STORE|RUN", help="A feature store, or a run, whose newest one is taken.", show_default=False)],
    masks: Annotated[str, typer.Option(metavar="TABLE", help="Whose objects: proposals, predicted, or another table of the store.")] = "proposals",
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Kind of object vectors; repeat it to average the graphs of several.", show_default=KIND),
    ] = None,
    exclude: Annotated[str, typer.Option(metavar="COLUMN", help='Objects with equal values are never neighbours; "" for none.')] = "photo",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the groups; default: STORE-groups.")] = None,
    *,
    options: GraphOptions,
) -> None:
    """Group the objects of a feature store, without labels: nearest neighbours, a graph, its eigenvectors, K-means.

    Writes the groups and how sure they are beside the store, and prints sizes, entropy, stability and the pieces of the graph.

    Example: mcdist group runs/demo --neighbours 5,10,20 --groups 6,12
    """
    from mcdist.groups.file import write_groups
    from mcdist.groups.find import find_groups
    from mcdist.groups.record import Groups
    from mcdist.groups.source import default_folder, find_store_of, objects_of

    settings = GroupSettings(
        neighbours=_numbers(options.neighbours, name="--neighbours"),
        num_groups=_numbers(options.groups, name="--groups"),
        tau=options.tau,
        symmetry=options.symmetry.value,
        search=options.search.value,
        consensus=_numbers(options.consensus, name="--consensus") if options.consensus else (),
        consensus_min=options.consensus_min,
        extra_dims=options.extra_dims,
        num_seeds=options.seeds,
        num_subsamples=options.subsamples,
        centre=options.centre,
        seed=options.seed,
    )
    store = find_store_of(source)
    objects = objects_of(store, table=masks, kinds=tuple(kind or [KIND]), excluded_by=exclude)
    grouping = find_groups(objects.views, source_of=objects.source_of, settings=settings)
    folder = out or default_folder(store)
    write_groups(Groups(source=objects.source, grouping=grouping), folder=folder)
    for line in described(grouping):
        typer.echo(line)
    typer.echo(f"groups: {folder}")


def described(grouping: "Grouping") -> list[str]:
    """What a person reads about groups: the graph, a line for each number of groups, the table of stability and the choice."""
    facts = grouping.facts
    lines = [
        f"{facts.num_objects:,} objects, {facts.num_nodes:,} distinct; without a direction: {facts.num_without_direction:,}, isolated: {facts.num_isolated:,}",
        f"graph: {grouping.choice.num_neighbours} neighbours ({facts.search}, recall {facts.recall:.3f}), {facts.num_edges:,} edges, "
        f"pieces: {facts.num_pieces:,}, joined by {facts.num_bridges:,} bridges, left: {facts.num_left:,}",
        f"groups that stand out (largest gap of the eigenvalues): {facts.largest_gap or '-'}",
        "",
        "  k   groups  seeds  subsamples      eigengap",
    ]
    for row in grouping.stability:
        agreement = f"{_shown(row.subsample_agreement, width=5, digits=2)} ± {_shown(row.subsample_std, width=4, digits=2)}"
        gap = _shown(row.eigengap, width=8, digits=4)
        lines.append(f"{row.num_neighbours:3d}  {row.num_groups:7d}  {_shown(row.seed_agreement, width=5, digits=2)}  {agreement}  {gap}")
    lines += [f"chosen: {grouping.choice.num_neighbours} neighbours, {grouping.choice.num_groups} groups: {grouping.choice.reason}", ""]
    for found in grouping.sets:
        spread_of_set, sizes = found.spread, _listed(found.spread.sizes)
        lines.append(
            f"{found.num_groups} groups: entropy {spread_of_set.entropy:.2f}, largest {100 * spread_of_set.largest_share:.0f} %, "
            f"empty {spread_of_set.num_empty}, without a group {spread_of_set.num_ungrouped:,}, mean confidence {_mean(found.confidence):.2f}; sizes: {sizes}"
        )
        lines += [f"  warning: {sign}" for sign in found.signs_of_collapse]
    return lines


def _shown(value: float, *, width: int, digits: int) -> str:
    """A dash for what could not be had."""
    return "-".rjust(width) if isnan(value) else f"{value:{width}.{digits}f}"


def _listed(sizes: Sequence[int]) -> str:
    """The largest ones, and how many more there are."""
    more = f", and {len(sizes) - SIZES_SHOWN} more down to {min(sizes)}" if len(sizes) > SIZES_SHOWN else ""
    return ", ".join(map(str, sizes[:SIZES_SHOWN])) + more


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else 0.0


def _numbers(text: str, *, name: str) -> tuple[int, ...]:
    """`6,12,25` as numbers."""
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"{name} must be whole numbers from 1 on with commas, such as 6,12,25, got {text!r}")
    return tuple(map(int, words))

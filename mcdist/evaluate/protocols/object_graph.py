"""ObjectGraph: objects are grouped by the graph of their vectors, as training groups them, for every encoder alike.

A clustering that is better than K-means lifts every row, the frozen start's too. So that its gain does not pass for a gain of training, this protocol
gives each row the same graph: nearest neighbours, spectral embedding, cut (`mcdist.groups`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy
from jaxtyping import Int

from mcdist.choices import GraphSymmetry
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.clustered_row import cluster_numbers, matched_painting, miou_row, quoted_place
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.sharing import rows_of_all
from mcdist.evaluate.table_names import PHOTO
from mcdist.evaluate.view import StoreView
from mcdist.groups.cut import cut
from mcdist.groups.graph.graph import graphs_of, search_views
from mcdist.groups.graph.nodes import centred, make_nodes
from mcdist.groups.graph.rows import ArrayRows
from mcdist.groups.graph.spectrum import Spectrum, leading_spectrum
from mcdist.groups.settings import DEFAULTS, GroupSettings
from mcdist.records import Row, Subject
from mcdist.records.names import OBJECT_GRAPH, UNIT_MEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectGraphSwitches:
    """`num_clusters`: each K, 0: classes shown without background. The rest as in `mcdist.groups.settings`."""

    pooling: str
    num_clusters: tuple[int, ...]
    num_seeds: int
    num_neighbours: int = DEFAULTS.neighbours[0]
    tau: float = DEFAULTS.tau
    symmetry: GraphSymmetry = DEFAULTS.symmetry
    extra_dims: int = DEFAULTS.extra_dims
    centre: bool = DEFAULTS.centre


@dataclass(frozen=True, slots=True)
class SpectralObjects:
    """`node_of [O]`: the graph's node of each object, -1 for a vector without a direction. `spectrum`: of the nodes, None where there is none."""

    node_of: Int[numpy.ndarray, " O"]
    spectrum: Spectrum | None


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """mIoU of every encoder on every set of masks: spectral groups of the graph of object vectors, matched as the clusters of K-means are.

    One graph for each encoder and set of masks; a seed is one of K-means on the spectral embedding. Objects of one photo are never neighbours, unless
    all are of one photo. An object without a group (a vector without a direction, a node without an edge) counts as outside of all objects.
    """

    switches: ObjectGraphSwitches
    name: str = OBJECT_GRAPH
    needs: ClassVar[frozenset[Need]] = frozenset({"objects", "truth"})

    def judge(self, store: StoreView) -> list[Row]:
        """Rows by masks, then number of clusters, then encoder."""
        rows = []
        for masks in store.masks:
            objects_of = {encoder: self._objects(store, subject=Subject(encoder, masks)) for encoder in store.encoders}
            for num_clusters in cluster_numbers(self.switches.num_clusters, store=store):
                rows += [
                    self._row(store, subject=Subject(encoder, masks), objects=objects_of[encoder], num_clusters=num_clusters) for encoder in store.encoders
                ]
        return rows

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder on the masks that it predicts, with the first number of clusters."""
        return quoted_place(rows)

    def paint(self, store: StoreView, *, row: Row) -> Painting:
        """What the first seed made of each object."""
        objects = self._objects(store, subject=row.subject)
        return matched_painting(self._groups(objects, num_groups=row.num_clusters, seed=0), row=row, store=store)

    def _objects(self, store: StoreView, *, subject: Subject) -> SpectralObjects:
        vectors = store.vectors(subject, pooling=self.switches.pooling).numpy()
        if not len(vectors):
            return SpectralObjects(numpy.zeros(0, dtype=numpy.int64), None)
        photo_of = store.store.column(subject.masks, PHOTO).read()
        nodes = make_nodes([ArrayRows(vectors)], source_of=photo_of if len(numpy.unique(photo_of)) > 1 else None)
        if not len(nodes.vectors):
            return SpectralObjects(nodes.node_of, None)
        if self.switches.centre:
            nodes = centred(nodes)
        settings = self._settings(store)
        lists = search_views(nodes.vectors, source_of=nodes.source_of, settings=settings)
        graph = next(graphs_of(lists, vectors=nodes.vectors, source_of=nodes.source_of, settings=settings))
        return SpectralObjects(nodes.node_of, leading_spectrum(graph.matrix, num=settings.num_eigenvectors, seed=settings.seed))

    def _settings(self, store: StoreView) -> GroupSettings:
        switches = self.switches
        return GroupSettings(
            neighbours=(switches.num_neighbours,),
            num_groups=cluster_numbers(switches.num_clusters, store=store),
            tau=switches.tau,
            symmetry=switches.symmetry,
            extra_dims=switches.extra_dims,
            centre=switches.centre,
        )

    def _groups(self, objects: SpectralObjects, *, num_groups: int, seed: int) -> Int[numpy.ndarray, " O"]:
        """The group of each object; `num_groups`, the row of what is outside, where it has none."""
        if objects.spectrum is None:
            return numpy.full(len(objects.node_of), num_groups)
        group_of_node = cut(objects.spectrum, num_groups=num_groups, seeds=[seed], extra_dims=self.switches.extra_dims).group
        group = numpy.where(objects.node_of >= 0, group_of_node[objects.node_of], -1)
        return numpy.where(group >= 0, group, num_groups)

    def _row(self, store: StoreView, *, subject: Subject, objects: SpectralObjects, num_clusters: int) -> Row:
        """Details beside those of every clustering: objects without a group, of the first seed."""
        counts = store.known_truth.counts[subject.masks]
        groups_of = partial(self._groups, objects, num_groups=num_clusters)
        found = rows_of_all(lambda seed: groups_of(seed=seed), num_rows=self.switches.num_seeds, length=counts.num_objects, world=store.world)
        return miou_row(
            self.name,
            subject,
            counts=counts,
            num_clusters=num_clusters,
            num_seeds=self.switches.num_seeds,
            clusters_of=lambda seed: found[seed],
            facts={"num_ungrouped": int((found[0] == num_clusters).sum())},
        )


def object_graph(settings: JudgeSettings) -> ObjectGraph:
    """Spectral groups of the graph of each object's mean unit embedding, every row alike."""
    return ObjectGraph(ObjectGraphSwitches(pooling=UNIT_MEAN, num_clusters=settings.num_clusters, num_seeds=settings.num_seeds))

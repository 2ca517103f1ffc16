"""Superpixels: a photo as a few hundred patches of one colour, and the graph of which touch. Made once a photo for all methods that work on them."""

from dataclasses import dataclass
from functools import cached_property

import numpy
from jaxtyping import Bool, Float32, Int
from scipy import sparse
from scipy.sparse import csgraph
from skimage.color import rgb2lab
from skimage.segmentation import slic

from mcdist.proposals.proposal import Pixels

NUM_ITERATIONS = 5
"""Of SLIC: after five, edges move by less than a pixel."""


def lab_of(photo: Pixels) -> Float32[numpy.ndarray, "H W 3"]:
    """CIE Lab: L 0..100, a and b about -100..100."""
    return rgb2lab(photo.astype(numpy.float32) / 255).astype(numpy.float32)


@dataclass(frozen=True)
class Superpixels:
    """`labels` 0..num-1 at working size; `colours` mean Lab of each; `centres` (y, x) in 0..1; `areas` in px; `edges` pairs i < j that touch."""

    labels: Int[numpy.ndarray, "h w"]
    colours: Float32[numpy.ndarray, "S 3"]
    centres: Float32[numpy.ndarray, "S 2"]
    areas: Float32[numpy.ndarray, " S"]
    edges: Int[numpy.ndarray, "E 2"]

    @property
    def num(self) -> int:
        """How many."""
        return len(self.areas)

    @cached_property
    def sides(self) -> Bool[numpy.ndarray, "4 S"]:
        """Which touch the upper, lower, left and right border."""
        labels = self.labels
        rows = []
        for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            row = numpy.zeros(self.num, dtype=bool)
            row[line] = True
            rows.append(row)
        return numpy.stack(rows)

    @cached_property
    def on_border(self) -> Bool[numpy.ndarray, " S"]:
        """Which touch any border."""
        return numpy.logical_or.reduce(self.sides)

    @cached_property
    def touching(self) -> Bool[numpy.ndarray, "S S"]:
        """Adjacency; border superpixels all touch one another, as if the photo's outside were one place."""
        touching = numpy.zeros((self.num, self.num), dtype=bool)
        touching[self.edges[:, 0], self.edges[:, 1]] = True
        touching |= touching.T
        touching |= self.on_border[:, None] & self.on_border[None, :]
        numpy.fill_diagonal(touching, False)
        return touching

    @cached_property
    def near(self) -> Bool[numpy.ndarray, "S S"]:
        """Adjacency of two steps."""
        steps = sparse.csr_matrix(self.touching.astype(numpy.float32))
        near = self.touching | ((steps @ steps).toarray() > 0)
        numpy.fill_diagonal(near, False)
        return near

    @cached_property
    def colour_distances(self) -> Float32[numpy.ndarray, "S S"]:
        """Euclidean in Lab, all pairs."""
        return distances(self.colours)

    @cached_property
    def geodesics(self) -> Float32[numpy.ndarray, "S S"]:
        """Length of the shortest path over touching superpixels, all pairs; a step costs the difference in colour above what is usual between neighbours."""
        steps = numpy.where(self.touching, self.colour_distances, numpy.inf)
        usual = float(numpy.mean(steps.min(axis=1, initial=1e6)))
        first, second = numpy.nonzero(numpy.triu(self.touching))
        # A step of 0 would be no step for a sparse matrix.
        lengths = numpy.maximum(self.colour_distances[first, second] - usual, 1e-6)
        graph = sparse.csr_matrix((lengths, (first, second)), shape=(self.num, self.num))
        return csgraph.shortest_path(graph, method="D", directed=False).astype(numpy.float32)

    def mean_of(self, values: Float32[numpy.ndarray, "h w"]) -> Float32[numpy.ndarray, " S"]:
        """Mean of a map in each superpixel."""
        return (numpy.bincount(self.labels.ravel(), weights=values.ravel(), minlength=self.num) / self.areas).astype(numpy.float32)

    def paint(self, values: Float32[numpy.ndarray, " S"]) -> Float32[numpy.ndarray, "h w"]:
        """A map of one value a superpixel."""
        return values.astype(numpy.float32)[self.labels]


def make_superpixels(lab: Float32[numpy.ndarray, "h w 3"], *, num: int = 200, compactness: float = 20.0) -> Superpixels:
    """SLIC (Achanta et al., PAMI 2012) with about `num` patches. `compactness`: the difference in Lab that weighs as much as a patch's width."""
    spread = float(lab.max() - lab.min()) or 1.0  # scikit-image stretches the values to 0..1 first
    labels = slic(lab, n_segments=num, compactness=compactness / spread, max_num_iter=NUM_ITERATIONS, convert2lab=False, start_label=0, channel_axis=-1)
    count = int(labels.max()) + 1
    flat = labels.ravel()
    areas = numpy.bincount(flat, minlength=count).astype(numpy.float32)
    rows, columns = numpy.indices(labels.shape, dtype=numpy.float32)
    channels = [lab[..., 0], lab[..., 1], lab[..., 2], (rows + 0.5) / labels.shape[0], (columns + 0.5) / labels.shape[1]]
    means = numpy.stack([numpy.bincount(flat, weights=channel.ravel(), minlength=count) / numpy.maximum(areas, 1) for channel in channels], axis=1)
    return Superpixels(
        labels=labels,
        colours=means[:, :3].astype(numpy.float32),
        centres=means[:, 3:].astype(numpy.float32),
        areas=numpy.maximum(areas, 1),
        edges=touching_pairs(labels),
    )


def touching_pairs(labels: Int[numpy.ndarray, "h w"]) -> Int[numpy.ndarray, "E 2"]:
    """Pairs i < j of labels that share an edge, in order, each once."""
    across = numpy.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    down = numpy.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    pairs = numpy.concatenate([across, down])
    pairs = numpy.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    count = int(labels.max()) + 1
    codes = numpy.unique(pairs[:, 0].astype(numpy.int64) * count + pairs[:, 1])
    return numpy.stack([codes // count, codes % count], axis=1)


def distances(points: Float32[numpy.ndarray, "N D"]) -> Float32[numpy.ndarray, "N N"]:
    """Euclidean distances of all pairs."""
    squares = (points * points).sum(axis=1)
    return numpy.sqrt(numpy.maximum(squares[:, None] + squares[None, :] - 2 * points @ points.T, 0)).astype(numpy.float32)

"""Nodes: which objects the graph has. Equal vectors share a node, vectors without a direction have none, and vectors that are not finite are refused."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from jaxtyping import Bool, Int

from mcdist.errors import ConfigError, DataError
from mcdist.groups.graph.rows import Rows, UnitRows, split, unit

HASH_SEED = 0
VARIANCE_MIN = 1e-6
"""Of unit vectors around their mean. Below it they differ by rounding only: fp16 alone gives some 1e-7."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """`vectors`: a unit vector for each node, of all views.

    `node_of`: each object's node, -1 for an object whose vector is zero in some view. `source_of`: nodes with the same number are never neighbours.
    """

    vectors: UnitRows
    node_of: Int[numpy.ndarray, " N"]
    source_of: Int[numpy.ndarray, " M"]

    @property
    def num_without_direction(self) -> int:
        """Objects whose vector is zero."""
        return int((self.node_of < 0).sum())

    @property
    def num_duplicates(self) -> int:
        """Objects whose vector is bit for bit that of an earlier object."""
        return int((self.node_of >= 0).sum()) - len(self.vectors)


def make_nodes(views: Sequence[Rows], *, source_of: Int[numpy.ndarray, " N"] | None = None) -> Nodes:
    """The nodes of N objects, in the order of their first objects; `views` are kinds of vectors of the same objects.

    `source_of`: objects of one number (one photo) are never neighbours. A node whose objects come from several sources may neighbour any other node.
    Reads each view once in blocks, and again where two rows look equal. Memory: O(N), none of it of the length of a vector.

    Raises:
        ConfigError: no views, or views or sources of other lengths.
        DataError: no objects, rows that are no vectors of numbers, or vectors that are not finite, with their count.
    """
    num_objects = _check_lengths(views, source_of=source_of)
    keys = numpy.zeros(num_objects, dtype=numpy.uint64)
    has_direction = numpy.ones(num_objects, dtype=bool)
    for place, view in enumerate(views):
        _read_view(view, keys=keys, has_direction=has_direction, name=f"view {place + 1}" if len(views) > 1 else "object vectors")
    first = _first_equal(views, keys=keys)
    kept = numpy.flatnonzero((first == numpy.arange(num_objects)) & has_direction)
    node_of = numpy.where(has_direction, numpy.searchsorted(kept, first), -1)
    sources = _sources_of_nodes(node_of, num_nodes=len(kept), source_of=source_of)
    return Nodes(vectors=UnitRows(tuple(views), kept=None if len(kept) == num_objects else kept), node_of=node_of, source_of=sources)


def centred(nodes: Nodes) -> Nodes:
    """The nodes with the mean taken off their vectors. Vectors that differ from it by no more than rounding say nothing: they become one node.

    Else the noise of equal objects, made in different batches, would be all that is left of them.
    """
    vectors = nodes.vectors.centred()
    if vectors.means is None or any(1 - float(numpy.square(mean, dtype=numpy.float64).sum()) > VARIANCE_MIN for mean in vectors.means):
        return Nodes(vectors=vectors, node_of=nodes.node_of, source_of=nodes.source_of)
    first = numpy.zeros(1, dtype=numpy.int64)
    return Nodes(vectors=nodes.vectors.subset(first), node_of=numpy.minimum(nodes.node_of, 0), source_of=first)


def _check_lengths(views: Sequence[Rows], *, source_of: Int[numpy.ndarray, " N"] | None) -> int:
    lengths = {len(view) for view in views} | ({len(source_of)} if source_of is not None else set())
    if len(lengths) != 1:
        raise ConfigError(f"the views and sources of a graph must have one length, the number of objects, got {sorted(lengths) or 'no views'}")
    num_objects = lengths.pop()
    if num_objects == 0:
        raise DataError("a graph needs at least one object, there is none; check that the photos have masks")
    return num_objects


def _read_view(view: Rows, *, keys: numpy.ndarray, has_direction: Bool[numpy.ndarray, " N"], name: str) -> None:
    """Add a view to each object's key, and mark zero vectors."""
    head = view.take(numpy.zeros(0, dtype=numpy.int64))
    if head.ndim != 2 or head.shape[1] == 0 or head.dtype.kind != "f":
        raise DataError(f"{name} must be rows of floating-point numbers, got {head.dtype} with shape (N, {', '.join(map(str, head.shape[1:]))})")
    drawn = numpy.random.default_rng(HASH_SEED).integers(0, 2**64, size=head.shape[1], dtype=numpy.uint64)
    multipliers = numpy.bitwise_or(drawn, numpy.uint64(1))
    num_bad, first_bad = 0, -1
    for rows in split(numpy.arange(len(view)), num_dims=head.shape[1]):
        values = view.take(rows)
        bad = ~numpy.isfinite(values).all(axis=1)
        if bad.any():
            first_bad = int(rows[bad.argmax()]) if first_bad < 0 else first_bad
            num_bad += int(bad.sum())
            continue
        vectors, lengths = unit(values)
        has_direction[rows] &= lengths > 0
        keys[rows] = keys[rows] * numpy.uint64(31) + _hash(vectors, multipliers=multipliers)
    if num_bad:
        raise DataError(f"{num_bad:,} of {len(view):,} {name} are not finite (first: row {first_bad}); remove them, or extract the features again")


def _hash(vectors: numpy.ndarray, *, multipliers: numpy.ndarray) -> numpy.ndarray:
    """64 bits of a row; equal rows have equal ones. Adding 0 makes -0 and 0 the same."""
    bits = (vectors + numpy.float32(0)).view(numpy.uint32)
    return numpy.einsum("rd,d->r", bits.astype(numpy.uint64), multipliers)


def _first_equal(views: Sequence[Rows], *, keys: numpy.ndarray) -> Int[numpy.ndarray, " N"]:
    """For each object the first one with the same vectors, often itself. Equal keys are candidates; the vectors decide."""
    _, first_of_key, key_of = numpy.unique(keys, return_index=True, return_inverse=True)
    first = first_of_key[key_of]
    candidates = numpy.flatnonzero(first != numpy.arange(len(first)))
    for view in views:
        num_dims = view.take(numpy.zeros(0, dtype=numpy.int64)).shape[1]
        for rows in split(candidates, num_dims=num_dims):
            differs = (unit(view.take(rows))[0] != unit(view.take(first[rows]))[0]).any(axis=1)
            first[rows[differs]] = rows[differs]
    return first


def _sources_of_nodes(node_of: Int[numpy.ndarray, " N"], *, num_nodes: int, source_of: Int[numpy.ndarray, " N"] | None) -> Int[numpy.ndarray, " M"]:
    """Numbers from 0; a node of objects of several sources has a number of its own."""
    if source_of is None or num_nodes == 0:
        return numpy.arange(num_nodes)
    objects = numpy.flatnonzero(node_of >= 0)
    number = numpy.unique(source_of, return_inverse=True)[1][objects]
    least = numpy.full(num_nodes, len(source_of), dtype=numpy.int64)
    most = numpy.full(num_nodes, -1, dtype=numpy.int64)
    numpy.minimum.at(least, node_of[objects], number)
    numpy.maximum.at(most, node_of[objects], number)
    own = numpy.where(least == most, least, len(source_of) + numpy.arange(num_nodes))
    return numpy.unique(own, return_inverse=True)[1]

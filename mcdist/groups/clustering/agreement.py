"""Agreement of two clusterings: the adjusted Rand index, which needs no ground truth and no matching of numbers."""

import numpy
from jaxtyping import Int


def adjusted_rand(one: Int[numpy.ndarray, " O"], *, other: Int[numpy.ndarray, " O"]) -> float:
    """How far two clusterings pair the same objects: 1 the same, 0 as by chance (Hubert and Arabie 1985)."""
    table = numpy.zeros((one.max() + 1, other.max() + 1))
    numpy.add.at(table, (one, other), 1)
    pairs, rows, columns, all_pairs = (_pairs(count) for count in (table, table.sum(axis=1), table.sum(axis=0), numpy.array([len(one)])))
    chance = rows * columns / max(all_pairs, 1)
    most = (rows + columns) / 2
    return 1.0 if most == chance else float((pairs - chance) / (most - chance))


def _pairs(counts: numpy.ndarray) -> float:
    return float((counts * (counts - 1) / 2).sum())

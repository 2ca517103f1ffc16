"""Agreement of two clusterings, which needs no matching of numbers: from the objects, or from how many objects each pair of clusters shares."""

import numpy
from jaxtyping import Int


def adjusted_rand(one: Int[numpy.ndarray, " O"], *, other: Int[numpy.ndarray, " O"]) -> float:
    """How far two clusterings pair the same objects: 1 the same, 0 as by chance (Hubert and Arabie 1985)."""
    table = numpy.zeros((one.max() + 1, other.max() + 1), dtype=numpy.int64)
    numpy.add.at(table, (one, other), 1)
    return adjusted_rand_of(table)


def adjusted_rand_of(table: Int[numpy.ndarray, "R C"]) -> float:
    """`adjusted_rand` from the objects (or pixels) of each pair of clusters. In Python's integers, so that pairs of 2^40 pixels are exact."""
    cells, rows, columns, all_pairs = (_pairs(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0), table.sum(keepdims=True)))
    # index - chance over most - chance, all times 2 x all_pairs
    above_chance, most = 2 * (cells * all_pairs - rows * columns), (rows + columns) * all_pairs - 2 * rows * columns
    return above_chance / most if most else 1.0


def mutual_information_of(table: Int[numpy.ndarray, "R C"]) -> float:
    """Normalised mutual information, 0..1: what two clusterings tell of each other over the mean of their entropies. 1 where both have one cluster."""
    total = table.sum()
    if not total:
        return 1.0
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropy = (_entropy(rows / total) + _entropy(columns / total)) / 2
    row, column = numpy.nonzero(table)
    share = table[row, column] / total
    shared = float((share * (numpy.log(share) - numpy.log(rows[row] / total) - numpy.log(columns[column] / total))).sum())
    return min(1.0, max(0.0, shared / entropy)) if entropy > 0 else 1.0


def _entropy(shares: numpy.ndarray) -> float:
    known = shares[shares > 0]
    return -float((known * numpy.log(known)).sum())


def _pairs(counts: numpy.ndarray) -> int:
    return sum(count * (count - 1) // 2 for count in counts.ravel().tolist())

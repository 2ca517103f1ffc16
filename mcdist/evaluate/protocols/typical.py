"""Objects to show: those that show best what a cluster is, and some that chance draws."""

import numpy
from jaxtyping import Float, Int

NUM_TYPICAL = 8
SEED = 0


def typical_objects(points: Float[numpy.ndarray, "O D"], *, clusters: Int[numpy.ndarray, " O"], numbers: range) -> list[list[int]]:
    """For each cluster number the NUM_TYPICAL objects nearest to its mean, nearest first; fewer where it has fewer."""
    nearest = []
    for number in numbers:
        members = numpy.flatnonzero(clusters == number)
        offset = points[members] - points[members].mean(axis=0) if len(members) else points[members]
        nearest.append(members[numpy.argsort((offset**2).sum(axis=1), kind="stable")[:NUM_TYPICAL]].tolist())
    return nearest


def drawn_objects(photo_of: Int[numpy.ndarray, " O"], *, num: int) -> Int[numpy.ndarray, " shown"]:
    """The first `num` objects of a random order (SEED), of each photo only one."""
    order = numpy.random.default_rng(SEED).permutation(len(photo_of))
    _, first_of_photo = numpy.unique(photo_of[order], return_index=True)
    return order[numpy.sort(first_of_photo)][:num]

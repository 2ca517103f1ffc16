"""Shuffled BatchNorm: which rank encodes which key image. MoCo, He et al. 2020 (arXiv:1911.05722), section 3.3.

Statistics of a rank's own images would be the same in both views' neighbourhoods and give the match away. So key images are dealt to the ranks anew
in each step. A pure function: every rank knows the whole deal, and nobody has to send it.
"""

import numpy
from jaxtyping import Int
from numpy import ndarray
from numpy.random import Generator, Philox


def shuffled(num_rows: int, *, num_ranks: int, seed: int, step: int, micro_batch: int) -> Int[ndarray, " RB"]:
    """A permutation of all ranks' `num_rows` rows each; rank r's part is in ascending order, since places within a rank mean nothing."""
    deal = Generator(Philox(key=[seed, (step << 16) + micro_batch])).permutation(num_ranks * num_rows)
    return numpy.sort(deal.reshape(num_ranks, num_rows), axis=1).reshape(-1)


def inverse(order: Int[ndarray, " N"]) -> Int[ndarray, " N"]:
    """all[order][inverse(order)] == all."""
    back = numpy.empty_like(order)
    back[order] = numpy.arange(len(order))
    return back

"""How long a collective takes: alpha-beta, a start a hop and a time a byte. Pure functions; all times in seconds, all sizes in bytes.

    ring all-reduce     2 (n - 1) alpha + 2 (n - 1) / n S beta      one level: processes of a machine, as gloo does it
    ring all-gather       (n - 1) alpha +   (n - 1) / n S beta      S: what a rank holds in the end

On a cluster there are two levels, and the libraries use both: reduce-scatter within the node, a double binary tree between nodes for each
GPU's share through its own network card (latency 2 log2(nodes), bytes 2 S / g), all-gather within the node. Rabenseifner 2004; NCCL.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True, slots=True)
class Level:
    """One kind of link: `alpha_s` a message, `beta_s` a byte (its inverse is the bandwidth of one rank's link, one direction)."""

    alpha_s: float
    beta_s: float


@dataclass(frozen=True, slots=True)
class Network:
    """Links within a node and between nodes, as one GPU has them."""

    within: Level
    between: Level
    gpus_per_node: int


def ring_all_reduce_s(num_bytes: float, *, num_ranks: int, level: Level) -> float:
    """0 for one rank."""
    return 2 * (num_ranks - 1) * level.alpha_s + 2 * (num_ranks - 1) / num_ranks * num_bytes * level.beta_s


def ring_all_gather_s(num_bytes: float, *, num_ranks: int, level: Level) -> float:
    """`num_bytes`: of all ranks together."""
    return (num_ranks - 1) * level.alpha_s + (num_ranks - 1) / num_ranks * num_bytes * level.beta_s


def all_reduce_s(num_bytes: float, *, num_ranks: int, network: Network) -> float:
    """Over both levels; ranks fill nodes."""
    here = min(num_ranks, network.gpus_per_node)
    num_nodes = math.ceil(num_ranks / network.gpus_per_node)
    seconds = ring_all_reduce_s(num_bytes, num_ranks=here, level=network.within)
    if num_nodes > 1:
        seconds += 2 * math.log2(num_nodes) * network.between.alpha_s + 2 * num_bytes / here * network.between.beta_s
    return seconds


def all_gather_s(num_bytes: float, *, num_ranks: int, network: Network) -> float:
    """Over both levels: what other nodes hold comes in through all cards of a node at once, then goes round within it."""
    here = min(num_ranks, network.gpus_per_node)
    num_nodes = math.ceil(num_ranks / network.gpus_per_node)
    between = (num_nodes - 1) * network.between.alpha_s + (num_nodes - 1) / num_nodes * num_bytes / here * network.between.beta_s
    return between + ring_all_gather_s(num_bytes, num_ranks=here, level=network.within)


def fit(sizes: Sequence[float], seconds: Sequence[float], *, num_messages: float, share: float) -> Level:
    """The level whose num_messages * alpha + share * S * beta is nearest to what was measured, by relative error; neither is below 0.

    `num_messages`, `share`: 2 (n - 1) and 2 (n - 1) / n for a ring all-reduce, half of both for an all-gather.
    """
    size, taken = numpy.asarray(sizes, dtype=float), numpy.asarray(seconds, dtype=float)
    terms = numpy.stack([numpy.full_like(size, num_messages), share * size], axis=1) / taken[:, None]
    alpha, beta = numpy.linalg.lstsq(terms, numpy.ones_like(taken), rcond=None)[0]
    if alpha < 0:
        alpha, beta = 0.0, float(numpy.median(taken / (share * size)))
    if beta < 0:
        alpha, beta = float(numpy.median(taken)) / num_messages, 0.0
    return Level(float(alpha), float(beta))

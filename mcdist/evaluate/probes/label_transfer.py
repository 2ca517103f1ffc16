"""Label transfer: what the nearest patches of a memory say about a patch. Dense nearest neighbours need no training."""

import numpy
from jaxtyping import Bool, Float, Float32, Int, UInt8

from mcdist.evaluate.metrics.labels import VOID_CLASS


def rare_first(presence: Bool[numpy.ndarray, "P C"], *, num: int, random: numpy.random.Generator) -> Int[numpy.ndarray, " num"]:
    """The patches of one photo that a memory keeps: those with the `num` lowest values of U(0, 1) x the sum, over the classes in the patch, of the number
    of the photo's patches with that class. Patches of rare classes are preferred. Patches without a class come last, and are not returned.

    Balazevic et al., NeurIPS 2023 (arXiv:2306.01667), as open-hummingbird-eval samples it.
    """
    score = presence @ presence.sum(axis=0).astype(numpy.float64)
    some = presence.any(axis=1)
    score = numpy.where(some, score * random.random(len(score)), numpy.inf)
    return numpy.argsort(score, kind="stable")[: min(num, int(some.sum()))]


def soft_vote(cosines: Float[numpy.ndarray, "Q k"], *, labels: Float[numpy.ndarray, "Q k C"], temperature: float) -> Float32[numpy.ndarray, "Q C"]:
    """Sum of the neighbours' class frequencies, weighted by softmax(cosine / temperature) over the k neighbours."""
    weights = numpy.exp((cosines - cosines.max(axis=1, keepdims=True)).astype(numpy.float32) / numpy.float32(temperature))
    weights /= weights.sum(axis=1, keepdims=True)
    return numpy.einsum("qk,qkc->qc", weights, labels.astype(numpy.float32, copy=False))


def pixel_mode(labels: UInt8[numpy.ndarray, "Q k P"], *, with_void: bool) -> UInt8[numpy.ndarray, "Q P"]:
    """The most frequent of k labels, pixel by pixel; the smallest of several. Void (255) is one more label, or without `with_void` no vote at all, and is
    then the answer only where all k are void. Time O(Q P k log k)."""
    ordered = numpy.sort(labels, axis=1)
    best = numpy.full((labels.shape[0], labels.shape[2]), VOID_CLASS, dtype=numpy.uint8)
    longest = numpy.zeros(best.shape, dtype=numpy.uint8)
    run = numpy.zeros(best.shape, dtype=numpy.uint8)
    for place in range(ordered.shape[1]):
        here = ordered[:, place]
        same = (here == ordered[:, place - 1]) if place else numpy.zeros(best.shape, dtype=bool)
        run = numpy.where(same, run + 1, 1).astype(numpy.uint8)
        longer = run > longest
        if not with_void:
            longer &= here != VOID_CLASS
        best[longer], longest[longer] = here[longer], run[longer]
    return best

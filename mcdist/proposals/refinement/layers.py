"""Layers: an instance map as one soft mask an object, which a refinement changes, and back."""

import numpy
from jaxtyping import Float32

from mcdist.proposals.proposal import Proposal


def layers_of(proposal: Proposal) -> Float32[numpy.ndarray, "L H W"] | None:
    """0 or 1 a pixel: layer i is object i + 1. None where there is no object."""
    if not proposal.num_objects:
        return None
    numbers = numpy.arange(1, proposal.num_objects + 1, dtype=numpy.int16)
    return (proposal.instances[None] == numbers[:, None, None]).astype(numpy.float32)


def objects_from_layers(layers: Float32[numpy.ndarray, "L H W"], *, before: Proposal) -> Proposal:
    """Each pixel to the layer with the greatest share, where that is more than what all layers leave to the background. Void stays void.

    A refinement that would leave an object without a pixel, or the photo without an object, keeps what was before.
    """
    best = layers.argmax(axis=0)
    share = numpy.take_along_axis(layers, best[None], axis=0)[0]
    rest = 1 - layers.sum(axis=0)
    objects = numpy.where(share > numpy.maximum(rest, 0), best + 1, 0).astype(numpy.int16)
    objects[before.instances < 0] = -1
    if set(numpy.unique(objects[objects > 0]).tolist()) != set(numpy.unique(before.instances[before.instances > 0]).tolist()):
        return before
    return Proposal(objects, confidence=before.confidence, scores=before.scores, notes=before.notes)

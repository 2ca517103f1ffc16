"""Flatten: scored masks that overlap become one instance map, by one rule for every method that makes such masks.

Masks are taken from the highest score down (of equal ones the larger first). One that covers a mask taken before by more than MAX_IOU is a double and
goes; of the others the later, lower one gets only the pixels that are still free.
"""

from collections.abc import Iterable, Sequence

import numpy
from jaxtyping import Int16

from mcdist.proposals.proposal import ScoredMask

MAX_IOU = 0.8


def rank(masks: Iterable[ScoredMask], *, max_iou: float = MAX_IOU) -> list[ScoredMask]:
    """The masks from the best down, without doubles and without empty ones."""
    ranked = sorted((one for one in masks if one.mask.any()), key=lambda one: (-one.score, -int(one.mask.sum())))
    kept: list[ScoredMask] = []
    for one in ranked:
        if all(iou(one.mask, other.mask) <= max_iou for other in kept):
            kept.append(one)
    return kept


def flatten(masks: Sequence[ScoredMask], *, height: int, width: int, max_iou: float = MAX_IOU) -> Int16[numpy.ndarray, "H W"]:
    """The instance map: object 1 is the best mask. `height` and `width` serve where there is none."""
    instances = numpy.zeros((height, width), dtype=numpy.int16)
    number = 0
    for one in rank(masks, max_iou=max_iou):
        free = one.mask & (instances == 0)
        if free.any():
            number += 1
            instances[free] = number
    return instances


def iou(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0

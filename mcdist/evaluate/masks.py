"""Object masks: which pixels of a photo are which object, predicted by the trained encoder or given as proposals."""

import numpy
import torch
from jaxtyping import Float, Int16, Shaped
from scipy import ndimage
from torch import Tensor

SALIENCY_LOGIT_MIN = 0.5
"""A pixel is an object's where its saliency *logit* is above this, as in the paper's released code (a probability of 0.62)."""


def photo_objects(saliency: Float[Tensor, "B S S"]) -> Int16[Tensor, "B S S"]:
    """All pixels above SALIENCY_LOGIT_MIN are object 1 of their photo, the others background. No host synchronisation."""
    return (saliency > SALIENCY_LOGIT_MIN).to(torch.int16)


def component_objects(saliency: Float[Tensor, "B S S"], *, area_min: float) -> tuple[Int16[Tensor, "B S S"], int]:
    """Connected components (4 neighbours) of the pixels above SALIENCY_LOGIT_MIN, numbered from 1, and how many were dropped.

    A component smaller than `area_min`, a share of the photo, becomes background. Runs on the host: costs one copy of `saliency` there and one of the map back.
    """
    above = (saliency > SALIENCY_LOGIT_MIN).cpu().numpy()
    found = [_large_components(photo, area_min_px=area_min * photo.size) for photo in above]
    objects = torch.from_numpy(numpy.stack([components for components, _ in found]))
    return objects.to(saliency.device), sum(num_dropped for _, num_dropped in found)


def _large_components(above: Shaped[numpy.ndarray, "S S"], *, area_min_px: float) -> tuple[Int16[numpy.ndarray, "S S"], int]:
    components, num_found = ndimage.label(above)
    areas_px = numpy.bincount(components.ravel(), minlength=num_found + 1)
    keep = areas_px >= area_min_px
    keep[0] = False
    keep[numpy.iinfo(numpy.int16).max :] = False
    number = numpy.where(keep, numpy.cumsum(keep), 0).astype(numpy.int16)
    return number[components], int(num_found - keep.sum())

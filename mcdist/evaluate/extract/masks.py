"""Object masks: which pixels of a photo belong to which object, as the trained encoder predicts."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Int, Int16, Shaped
from torch import Tensor

from mcdist.choices import Objects, PredictedBy, require_choice
from mcdist.components import connected_components

SALIENCY_LOGIT_MIN = 0.5
"""A pixel is an object's where its saliency *logit* is above this, as in the paper's released code (a probability of 0.62)."""


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """Instance maps of a batch; no object has a number above `max_objects`."""

    objects: Int[Tensor, "B H W"]
    max_objects: int


def logit_min_of(predicted_by: PredictedBy) -> float:
    """The logit above which a pixel is an object's: the paper's of the saliency head, 0 of the group head, whose logit is a margin over background."""
    return 0.0 if predicted_by == "groups" else SALIENCY_LOGIT_MIN


def predicted_objects(saliency: Float[Tensor, "B H W"], *, objects: Objects, area_min: float, logit_min: float) -> tuple[ObjectMasks, Int[numpy.ndarray, " B"]]:
    """The objects in logits, and how many components of each photo were too small.

    `objects`: "photo" (one object a photo) or "components" (connected components of at least `area_min`, a share of the photo). A pixel belongs to one
    where its logit is above `logit_min`.

    Raises:
        ConfigError: another choice of objects.
    """
    require_choice("objects", objects, choices=Objects)
    if objects == "photo":
        return ObjectMasks(objects=photo_objects(saliency, logit_min=logit_min), max_objects=1), numpy.zeros(len(saliency), dtype=numpy.int64)
    found, num_dropped = component_objects(saliency, area_min=area_min, logit_min=logit_min)
    return ObjectMasks(objects=found, max_objects=max(1, int(found.max()))), num_dropped


def photo_objects(saliency: Float[Tensor, "B H W"], *, logit_min: float) -> Int16[Tensor, "B H W"]:
    """All pixels above `logit_min` are object 1 of their photo, the others background. Does not wait for the device."""
    return (saliency > logit_min).to(torch.int16)


def component_objects(saliency: Float[Tensor, "B H W"], *, area_min: float, logit_min: float) -> tuple[Int16[Tensor, "B H W"], Int[numpy.ndarray, " B"]]:
    """Connected components of the pixels above `logit_min`, numbered from 1, and how many were dropped in each photo.

    A component smaller than `area_min`, a share of the photo, becomes background. Runs on the host: costs one copy of `saliency` there and one of the
    map back.
    """
    above = (saliency > logit_min).cpu().numpy()
    found = [_large_components(photo, area_min_px=area_min * photo.size) for photo in above]
    objects = torch.from_numpy(numpy.stack([components for components, _ in found]))
    return objects.to(saliency.device), numpy.array([num_dropped for _, num_dropped in found])


def _large_components(above: Shaped[numpy.ndarray, "H W"], *, area_min_px: float) -> tuple[Int16[numpy.ndarray, "H W"], int]:
    components, num_found = connected_components(above)
    areas_px = numpy.bincount(components.ravel(), minlength=num_found + 1)
    keep = areas_px >= area_min_px
    keep[0] = False
    keep[numpy.iinfo(numpy.int16).max :] = False
    number = numpy.where(keep, numpy.cumsum(keep), 0).astype(numpy.int16)
    return number[components], int(num_found - keep.sum())

"""Steady: the frames of a video in order, each of whose segments is what the frame itself and the frames before it say. Memory does not grow with the video."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from mcdist.catalogue.classes import Classes
from mcdist.evaluate.extract.masks import ObjectMasks, predicted_objects
from mcdist.evaluate.propagation.propagate import steady_labels
from mcdist.segments.segmenter import FoundObjects, Looked, Segmenter

MEMORY = 0.5
"""Of what comes from the frames before; the rest is the frame's own."""
FOREGROUND_MIN = 0.5
"""A pixel is an object's where all clusters together have more than this share of it."""

Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True)
class SeenFrame(Generic[Frame]):
    """A frame with what the encoder sees in it alone."""

    frame: Frame
    looked: Looked
    found: FoundObjects


def steady_frames(
    frames: Iterable[SeenFrame[Frame]], *, segmenter: Segmenter, classes: Classes, memory: float = MEMORY
) -> Iterator[tuple[Frame, FoundObjects]]:
    """Each frame with its objects, steadied: soft labels (background and each cluster) follow the features from frame to frame.

    What a frame's own objects say is mixed with what the frames before hand on (`steady_labels`). Objects are then what of the mixture is above
    FOREGROUND_MIN, by the rule of all masks, and their clusters those of the mixture. The first frame's are its own, on the grid of the features.
    """
    side = segmenter.settings.size_px
    waiting: deque[SeenFrame[Frame]] = deque()

    def own() -> Iterator[tuple[Float[Tensor, "D h w"], Float[Tensor, "C h w"]]]:
        for seen in frames:
            waiting.append(seen)
            features = seen.looked.features[0]
            yield features, own_labels(seen.found, classes=classes, height=features.shape[1], width=features.shape[2]).to(features.device)

    for labels in steady_labels(own(), memory=memory):
        seen = waiting.popleft()
        yield seen.frame, _objects_of(labels, seen=seen, segmenter=segmenter, side=side)


def own_labels(found: FoundObjects, *, classes: Classes, height: int, width: int) -> Float[Tensor, "C h w"]:
    """Background and each cluster, as the shares of a cell's pixels: an object's pixels are divided among the clusters by its confidences."""
    probabilities = torch.from_numpy(classes.leaf_probabilities(found.vectors))
    objects = torch.from_numpy(found.objects.astype(numpy.int64))
    numbers = torch.arange(1, len(found.vectors) + 1)
    share = adaptive_avg_pool2d((objects[None] == numbers[:, None, None]).float(), (height, width))
    labels = torch.einsum("mhw,ml->lhw", share, probabilities)
    return torch.cat([1 - share.sum(dim=0, keepdim=True), labels])


def _objects_of(labels: Float[Tensor, "C h w"], *, seen: SeenFrame[Frame], segmenter: Segmenter, side: int) -> FoundObjects:
    settings = segmenter.settings
    foreground = interpolate(1 - labels[None, :1], size=(side, side), mode="bilinear", align_corners=False)[:, 0]
    masks, _ = predicted_objects(foreground, objects=settings.objects, area_min=settings.component_area_min, logit_min=FOREGROUND_MIN)
    vectors = segmenter.pool(seen.looked, masks=masks, logits=foreground)[0]
    share = adaptive_avg_pool2d((masks.objects[0][None] == _numbers(masks)[:, None, None]).float(), (labels.shape[1], labels.shape[2]))
    clusters = torch.einsum("mhw,lhw->ml", share, labels[1:])
    probabilities = clusters / clusters.sum(dim=1, keepdim=True).clamp(min=torch.finfo(clusters.dtype).tiny)
    return FoundObjects(masks.objects[0].cpu().numpy().astype(numpy.int16), vectors, probabilities.cpu().numpy())


def _numbers(masks: ObjectMasks) -> Tensor:
    return torch.arange(1, masks.max_objects + 1, device=masks.objects.device)

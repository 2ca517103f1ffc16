"""Fake encoders and photos of the evaluation's tests: a class is a colour, so an encoder that looks at colours knows everything."""

import numpy
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from mcdist.data.shards.sample import Sample
from mcdist.data.views.normalise import IMAGENET_MEAN, IMAGENET_STD
from mcdist.evaluate.subject import EvaluationSettings
from mcdist.types import Embedded

COLOURS = {1: (230, 20, 20), 2: (20, 230, 20), 3: (20, 20, 230)}
CLASSES = {"background": [0], "red": [1], "green": [2], "blue": [3]}
SETTINGS = EvaluationSettings(
    size_px=64,
    batch=5,
    objects="photo",
    component_area_min=0.01,
    pca_dim=2,
    mean_embedding_pca_dim=0,
    num_clusters=0,
    num_seeds=2,
    num_panels=3,
)


class ColourEncoder(nn.Module):
    """Backbone: mean colour of each 8 x 8 block in 0..1. Head: colour about its mean; saliency: how far a block is from grey."""

    def __init__(self, *, device: torch.device | str = "cpu", blind: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1))
        self.blind = blind

    def backbone(self, image: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(image * self.std + self.mean, 8)

    def head(self, features: torch.Tensor) -> Embedded:
        saliency = 20 * (features.amax(1, keepdim=True) - features.amin(1, keepdim=True)) - 6
        embedding = features - features.mean(1, keepdim=True)
        return Embedded(features=torch.ones_like(embedding) if self.blind else embedding, saliency=saliency)


def make_sample(index: int, *, height: int = 48, width: int = 64, with_segments: bool = True) -> Sample:
    """A grey photo with one coloured rectangle; void along its left edge; proposals are the rectangle, a pixel too wide."""
    random = numpy.random.default_rng(index)
    label = 1 + index % 3
    top, left = int(random.integers(4, 16)), int(random.integers(4, 24))
    photo = random.integers(100, 140, size=(1, height, width)).repeat(3, axis=0)
    segments = numpy.zeros((height, width), dtype=numpy.uint8)
    inside = (slice(top, top + 24), slice(left, left + 32))
    photo[:, *inside] = numpy.array(COLOURS[label]).reshape(3, 1, 1) + random.integers(-15, 15, size=(3, 24, 32))
    segments[inside] = label
    segments[inside[0], left - 1] = 255
    instances = numpy.zeros((height, width), dtype=numpy.int16)
    instances[top : top + 24, left - 1 : left + 32] = 1
    return Sample(
        key=f"photo_{index}",
        photo=torch.from_numpy(photo.clip(0, 255).astype(numpy.uint8)),
        instances=torch.from_numpy(instances),
        segments=torch.from_numpy(segments) if with_segments else None,
    )

"""Augment: photos mirrored, scaled and turned, a batch at a time, on whatever device the batch is. The labels follow, each pixel the nearest one."""

import math

import numpy
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.finetune.settings import TuneSettings

_STREAM_TUNING = 12
"""Keeps these random numbers apart from those of training's views and of augmented passes."""

IDENTITY = numpy.array([[1, 0, 0], [0, 1, 0]], dtype=numpy.float32)


def drawn_transform(*, seed: int, epoch: int, index: int, height: int, width: int, settings: TuneSettings) -> Float32[numpy.ndarray, "2 3"]:
    """From places in the augmented square to places in the squared photo, both in -1..1, of one photo in one epoch: a pure function of the numbers.

    The photo of `height` x `width` is mirrored or not, scaled and turned about its centre in its own proportions, so that a turn is a turn although both
    squares are distorted: source = F R(-angle) target / scale, in pixels of the photo.
    """
    flip, scale, turn = numpy.random.default_rng([_STREAM_TUNING, seed, epoch, index]).random(3).tolist()
    factor = settings.scale_min + scale * (settings.scale_max - settings.scale_min)
    angle = math.radians(settings.angle_max_deg * (2 * turn - 1))
    sign = -1.0 if flip < settings.flip_probability else 1.0
    cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
    return numpy.array([[sign * cos, sign * sin * height / width, 0], [-sin * width / height, cos, 0]], dtype=numpy.float32)


def augmented(
    images: Float[Tensor, "B 3 S S"], *, labels: UInt8[Tensor, "B S S"], transforms: Float32[Tensor, "B 2 3"]
) -> tuple[Float[Tensor, "B 3 S S"], UInt8[Tensor, "B S S"]]:
    """(images resampled bicubically, labels from the nearest pixel). Outside of the photo an image is 0, the mean colour once it is normalised, and void."""
    grid = affine_grid(transforms, list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    from_void = (labels.to(torch.float32) - VOID_CLASS)[:, None]
    shown = grid_sample(from_void, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] + VOID_CLASS
    return moved.contiguous(memory_format=torch.channels_last), shown.to(torch.uint8)

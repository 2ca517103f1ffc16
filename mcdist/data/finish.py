"""Finish: the colour changes and the normalisation of a batch, on the device where the batch is."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mcdist.data.batch import Batch
from mcdist.data.views.colour import change_colours
from mcdist.data.views.draw import Colour
from mcdist.data.views.normalise import statistics_on
from mcdist.types import Rgb

CPU_PIECE = 1
"""Images at a time on a CPU: one of 224 px as floats (600 kB) stays in the core's own cache; pieces of 8 and 32 took 1.4 and 1.6 times as
long. A GPU takes all at once."""


def finish(batch: Batch, *, mean: Rgb, std: Rgb) -> Batch:
    """The batch with float32 images, normalised by a backbone's `mean` and `std`; one that has them already, or features, is returned as it is."""
    if batch.query_images.dtype != torch.uint8:
        return batch
    return replace(
        batch,
        query_images=finish_images(batch.query_images, colours=batch.query_colours, mean=mean, std=std),
        key_images=finish_images(batch.key_images, colours=batch.key_colours, mean=mean, std=std),
        query_colours=(),
        key_colours=(),
    )


def finish_images(images: UInt8[Tensor, "N 3 H W"], *, colours: Sequence[Colour], mean: Rgb, std: Rgb) -> Float[Tensor, "N 3 H W"]:
    """8-bit pixels / 255, then each image's colour change, then minus mean and divided by std; channels_last, as the encoders' weights are."""
    finished = torch.empty(images.shape, dtype=torch.float32, device=images.device, memory_format=torch.channels_last)
    mean_311, std_311 = statistics_on(images.device, mean=mean, std=std)
    piece = CPU_PIECE if images.device.type == "cpu" else len(images)
    for start in range(0, len(images), piece):
        rows = slice(start, start + piece)
        part = images[rows].to(torch.float32, memory_format=torch.contiguous_format).div_(255)  # colours are changed plane by plane
        torch.sub(change_colours(part, colours=colours[rows]), mean_311, out=finished[rows]).div_(std_311)
    return finished

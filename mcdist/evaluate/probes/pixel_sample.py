"""Pixel sample: some pixels of each labelled photo, with the features that bilinear upsampling gives them. What a probe can be fitted on in memory.

A 1 x 1 convolution and bilinear upsampling commute, so the loss of these pixels is an unbiased sample of the loss of all pixels. Cells with the class of
most of their pixels are not: at the edges of objects they teach something else.
"""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.moments import LinearMap, Moments, standardiser
from mcdist.store.store import Column


@dataclass(frozen=True, slots=True)
class PixelSample:
    """n pixels of each of P photos, in a random order: standardised features, and classes, of which VOID_CLASS teaches nothing. `before`: the
    standardisation."""

    features: Float32[Tensor, "P n D"]
    labels: UInt8[Tensor, "P n"]
    before: LinearMap


def sample_pixels(features: Column, *, maps: LabelMaps, size_px: int, num_pixels: int, max_bytes: int, seed: int) -> PixelSample:
    """`num_pixels` of each photo, each of its size_px x size_px equally likely: fewer where `max_bytes` hold no more features, and then of fewer photos.

    The pixels of a photo depend on the seed and its place alone. Features are standardised by the cells of all photos. One pass over the features.

    Raises:
        DataError: none of the sampled pixels has a class.
    """
    num_dims = features.row_shape[-1]
    most = max(1, max_bytes // (4 * num_dims))
    photos = numpy.arange(len(maps))
    if len(photos) > most:
        photos = numpy.sort(numpy.random.default_rng(seed).choice(photos, size=most, replace=False))
    num_each = max(1, min(num_pixels, most // max(1, len(photos)), size_px**2))
    sampled = numpy.empty((len(photos), num_each, num_dims), dtype=numpy.float32)
    labels = numpy.empty((len(photos), num_each), dtype=numpy.uint8)
    place_of = {int(photo): place for place, photo in enumerate(photos)}
    moments = Moments(num_dims, joint=False)
    for photo, cells in enumerate(cells for chunk in features.chunks() for cells in chunk):
        moments.add(cells.reshape(-1, num_dims).astype(numpy.float32))
        if (place := place_of.get(photo)) is not None:
            pixels = numpy.random.default_rng([seed, photo]).choice(size_px**2, size=num_each, replace=False)
            sampled[place] = upsampled_at(cells, pixels=pixels, size_px=size_px)
            labels[place] = maps.squares([photo], size_px=size_px)[0].ravel()[pixels]
    if (labels == VOID_CLASS).all():
        raise DataError(f"a probe needs labelled pixels to be fitted on, none of the {len(maps)} photos has one; check evaluate.classes against their labels")
    before = standardiser(moments)
    sampled -= before.mean
    sampled /= before.std
    return PixelSample(torch.from_numpy(sampled), torch.from_numpy(labels), before)


def upsampled_at(cells: Float[numpy.ndarray, "h w D"], *, pixels: Int[numpy.ndarray, " n"], size_px: int) -> Float32[numpy.ndarray, "n D"]:
    """The features of some pixels, row y and column x as y size_px + x, of the map upsampled bilinearly (align_corners=False) to size_px squared."""
    where = torch.from_numpy(numpy.stack([pixels % size_px, pixels // size_px], axis=1)).float()
    grid = ((2 * where + 1) / size_px - 1)[None, None]
    maps = torch.from_numpy(numpy.ascontiguousarray(cells, dtype=numpy.float32)).permute(2, 0, 1)[None]
    return grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T.numpy()

"""Pixel sample: some pixels of each labelled photo, with the features that bilinear upsampling gives them. What a probe can be fitted on in memory.

A 1 x 1 convolution and bilinear upsampling commute, so the loss of these pixels is an unbiased sample of the loss of all pixels. Cells with the class of
most of their pixels are not: at the edges of objects they teach something else.
"""

from dataclasses import dataclass
from math import isqrt

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
    """k draws of n pixels of each of P photos: standardised features, and classes, of which VOID_CLASS teaches nothing. `before`: the standardisation."""

    features: Float32[Tensor, "k P n D"]
    labels: UInt8[Tensor, "k P n"]
    before: LinearMap


def sample_pixels(features: Column, *, maps: LabelMaps, size_px: int, grid: int, num_draws: int, max_bytes: int, seed: int) -> PixelSample:
    """Draw a pixel in each square of a grid x grid over each photo, `num_draws` times; each of size_px x size_px pixels is equally likely.

    Where `max_bytes` hold no more features there are fewer draws, then a coarser grid, then fewer photos. A photo's pixels depend on the seed and its place
    alone. Features are standardised by the cells of all photos. One pass over the features.

    Raises:
        DataError: none of the drawn pixels has a class.
    """
    num_dims = features.row_shape[-1]
    most = max(1, max_bytes // (4 * num_dims))
    photos = numpy.arange(len(maps))
    if len(photos) > most:
        photos = numpy.sort(numpy.random.default_rng(seed).choice(photos, size=most, replace=False))
    each = most // max(1, len(photos))
    grid = min(grid, size_px, isqrt(each))
    num_draws = min(num_draws, each // grid**2)
    drawn = numpy.empty((num_draws, len(photos), grid**2, num_dims), dtype=numpy.float32)
    labels = numpy.empty(drawn.shape[:-1], dtype=numpy.uint8)
    place_of = {int(photo): place for place, photo in enumerate(photos)}
    moments = Moments(num_dims, joint=False)
    for photo, cells in enumerate(cells for chunk in features.chunks() for cells in chunk):
        moments.add(cells.reshape(-1, num_dims).astype(numpy.float32))
        if (place := place_of.get(photo)) is not None:
            pixels = drawn_pixels(grid, num_draws=num_draws, size_px=size_px, seed=(seed, photo))
            drawn[:, place] = upsampled_at(cells, pixels=pixels.ravel(), size_px=size_px).reshape(num_draws, grid**2, num_dims)
            labels[:, place] = maps.squares([photo], size_px=size_px)[0].ravel()[pixels]
    if (labels == VOID_CLASS).all():
        raise DataError(f"a probe needs labelled pixels to be fitted on, none of the {len(maps)} photos has one; check evaluate.classes against their labels")
    before = standardiser(moments)
    drawn -= before.mean
    drawn /= before.std
    return PixelSample(torch.from_numpy(drawn), torch.from_numpy(labels), before)


def drawn_pixels(grid: int, *, num_draws: int, size_px: int, seed: tuple[int, ...]) -> Int[numpy.ndarray, "k n"]:
    """For each draw a pixel in each of grid x grid squares, by its number y size_px + x."""
    within = numpy.random.default_rng(seed).random((2, num_draws, grid, grid))
    rows = ((numpy.arange(grid)[:, None] + within[0]) * size_px / grid).astype(numpy.int64)
    columns = ((numpy.arange(grid) + within[1]) * size_px / grid).astype(numpy.int64)
    numbers: Int[numpy.ndarray, "k n"] = numpy.minimum(rows, size_px - 1) * size_px + numpy.minimum(columns, size_px - 1)
    return numbers.reshape(num_draws, -1)


def upsampled_at(cells: Float[numpy.ndarray, "h w D"], *, pixels: Int[numpy.ndarray, " n"], size_px: int) -> Float32[numpy.ndarray, "n D"]:
    """The features of some pixels, row y and column x as y size_px + x, of the map upsampled bilinearly (align_corners=False) to size_px squared."""
    where = torch.from_numpy(numpy.stack([pixels % size_px, pixels // size_px], axis=1)).float()
    grid = ((2 * where + 1) / size_px - 1)[None, None]
    maps = torch.from_numpy(numpy.ascontiguousarray(cells, dtype=numpy.float32)).permute(2, 0, 1)[None]
    return grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T.numpy()

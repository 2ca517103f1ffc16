"""Crop: cut a view out of a photo and out of its map, in one geometry; 8-bit pixels all the way.

The photo is resized bilinearly with antialiasing, by torch's own 8-bit kernel: pixels stored colour beside colour ("channels last", as
JPEG decoders give them) take a third of the time that separate colour planes take. The map takes the pixel whose centre is nearest.
"""

from dataclasses import replace

import numpy
import torch
from jaxtyping import UInt8
from torch import Tensor

from mcdist.data.views.draw import Geometry

SHRINKS = (8, 4, 2)
"""Whole fractions at which a JPEG is decoded faster than in full."""


def cut_photo(photo: UInt8[Tensor, "3 H W"], *, geometry: Geometry, size_px: int) -> UInt8[Tensor, "3 S S"]:
    """Crop, resize, mirror. The result's memory runs along its colours first."""
    rows, columns = _slices(geometry)
    cropped = photo.permute(1, 2, 0)[rows, columns].contiguous()
    resized = torch.nn.functional.interpolate(cropped[None].permute(0, 3, 1, 2), size=(size_px, size_px), mode="bilinear", antialias=True)
    return (resized.flip(-1) if geometry.flip else resized)[0]


def cut_map(values: UInt8[numpy.ndarray, "H W"], *, geometry: Geometry, size_px: int) -> UInt8[numpy.ndarray, "S S"]:
    """As "nearest-exact". torchvision resizes a Mask with "nearest", up to half a pixel beside its photo."""
    centres = numpy.arange(size_px) + 0.5
    rows = geometry.top + (centres * (geometry.height / size_px)).astype(numpy.intp)
    columns = geometry.left + (centres * (geometry.width / size_px)).astype(numpy.intp)
    return values.take(rows, axis=0).take(columns[::-1] if geometry.flip else columns, axis=1)


def choose_shrink(*geometries: Geometry, size_px: int) -> int:
    """The largest fraction 1/n at which every crop still has a pixel for each pixel of its view; 1 where there is none."""
    smallest = min(min(geometry.height, geometry.width) for geometry in geometries)
    return next((shrink for shrink in SHRINKS if smallest >= shrink * (size_px + 1)), 1)


def on_grid(geometry: Geometry, *, shrink: int, height: int, width: int) -> Geometry:
    """The crop with its borders on multiples of `shrink`, at most `shrink / 2` pixels away (`shrink` at the far border): photo and map stay aligned."""
    top, left = round(geometry.top / shrink), round(geometry.left / shrink)
    bottom = min(round((geometry.top + geometry.height) / shrink), height // shrink)
    right = min(round((geometry.left + geometry.width) / shrink), width // shrink)
    return Geometry(top * shrink, left * shrink, (bottom - top) * shrink, (right - left) * shrink, geometry.flip)


def shrunk(geometry: Geometry, *, shrink: int) -> Geometry:
    """A crop on the grid of `shrink`, in pixels of the photo at 1/shrink."""
    sides = {name: getattr(geometry, name) // shrink for name in ("top", "left", "height", "width")}
    return replace(geometry, **sides)


def _slices(geometry: Geometry) -> tuple[slice, slice]:
    return slice(geometry.top, geometry.top + geometry.height), slice(geometry.left, geometry.left + geometry.width)

"""Cut: the objects of a photo as square pictures of one size, and how much of each cell of the backbone's grid is the object."""

import numpy
import torch
from jaxtyping import Float, Int16, Int64, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mcdist.data.views.crop import cut_photo
from mcdist.data.views.draw import Geometry
from mcdist.types import Rgb
from mcdist.zoom.extents import Extents
from mcdist.zoom.settings import ZoomSettings

SIDE_MIN_PX = 16
"""A smaller object is seen with more of its surroundings: its own few pixels say nothing."""


def cut_objects(
    photo: UInt8[Tensor, "3 H W"], objects: Int16[numpy.ndarray, "H W"], *, extents: Extents, settings: ZoomSettings, grid: int, mean: Rgb
) -> tuple[UInt8[Tensor, "O M 3 S S"], Float[Tensor, "O M g g"]]:
    """(pictures, the object's share of each cell of a `grid` x `grid` grid) of every object of `extents`, with M margins.

    The picture is resized bilinearly, antialiased where it shrinks. `mean`: the colour, in 0..1, that takes the place of all that is not the object with
    background=grey.
    """
    num_objects, num_margins = len(extents.number), len(settings.margins)
    images = torch.empty((num_objects, num_margins, settings.size_px, settings.size_px, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3)
    weights = torch.empty((num_objects, num_margins, grid, grid))
    grey = (torch.tensor(mean) * 255).round().to(torch.uint8)[:, None, None]
    for place, (number, core) in enumerate(zip(extents.number, extents.core, strict=True)):
        inside = torch.from_numpy(objects == number)
        seen = photo if settings.background == "keep" else torch.where(inside, photo, grey)
        for turn, margin in enumerate(settings.margins):
            square = square_around(core, margin=margin, height=objects.shape[0], width=objects.shape[1])
            images[place, turn] = cut_photo(seen, geometry=square, size_px=settings.size_px)
            part = inside[square.top : square.top + square.height, square.left : square.left + square.width]
            weights[place, turn] = adaptive_avg_pool2d(part[None].float(), (grid, grid))[0]
    return images, weights


def square_around(core: Int64[numpy.ndarray, " 4"], *, margin: float, height: int, width: int) -> Geometry:
    """The square around a core, moved into the photo where it reaches beyond; a photo that is too small for it cuts it."""
    top, left, bottom, right = core.tolist()
    side = max(SIDE_MIN_PX, round(margin * max(bottom - top, right - left)))
    tall, wide = min(side, height), min(side, width)
    above, before = round((top + bottom - tall) / 2), round((left + right - wide) / 2)
    return Geometry(top=min(max(above, 0), height - tall), left=min(max(before, 0), width - wide), height=tall, width=wide, flip=False)

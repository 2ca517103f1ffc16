"""Views: two random views of a photo, each with one geometry for photo and instance map.

Everything is drawn on the map, before the photo is touched: a view that is drawn again costs no photo's pixels, and the photo is decoded
no larger than both views need. Pixels stay 8-bit; the colour change travels with them and is made on the device (`mcdist.data.finish`).
"""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Int16, UInt8
from torch import Tensor

from mcdist.data.pictures.jpeg import is_plain_jpeg
from mcdist.data.shards.raw_sample import RawSample
from mcdist.data.shards.sample import Sample, check_size, photo_of, stored_map_of
from mcdist.data.views.crop import choose_shrink, cut_map, cut_photo, on_grid, shrunk
from mcdist.data.views.draw import Colour, Geometry, ViewSettings, draw_colour, draw_geometry, uniforms_of
from mcdist.data.views.objects import Numbering, keep_largest
from mcdist.types import VOID


@dataclass(frozen=True, slots=True)
class TwoViews:
    """Two views of one photo: 8-bit pixels, and the colour changes still to be made. Object i is the same object in both maps; a view may miss it.

    `num_redrawn`: views (0..2) that took more than one try. `emptied`: no try was acceptable, both maps are void everywhere.
    `num_dropped_objects`: objects of the photo beyond `max_objects`, void in both maps.
    """

    index: int
    query_image: UInt8[Tensor, "3 S S"]
    key_image: UInt8[Tensor, "3 S S"]
    query_colour: Colour
    key_colour: Colour
    query_instances: Int16[Tensor, "S S"]
    key_instances: Int16[Tensor, "S S"]
    num_redrawn: int
    emptied: bool
    num_dropped_objects: int


@dataclass(frozen=True, slots=True)
class DrawnView:
    """What a view will be: its geometry and colour, its map already cut, and after how many tries."""

    geometry: Geometry
    colour: Colour
    instances: Int16[numpy.ndarray, "S S"]
    tries: int
    accepted: bool


def two_views(sample: Sample, *, seed: int, epoch: int, index: int, settings: ViewSettings) -> TwoViews:
    """Draw both views of a decoded sample.

    A view whose foreground (instances >= 1) is less than `foreground_min` or more than `foreground_max` of its area is drawn again,
    up to `max_redraws` times, on the map alone. If that fails for either view the sample keeps its place and both maps become void:
    it then adds neither positives nor background to any term.
    """
    stored = sample.instances.to(torch.uint8).numpy()  # -1 wraps to 255, as in the file
    numbering = keep_largest(stored, max_objects=settings.max_objects)
    drawn = _draw_both(stored, numbering, seed=seed, epoch=epoch, index=index, settings=settings)
    return _cut(sample.photo, drawn, shrink=1, index=index, num_dropped=numbering.num_dropped, size_px=settings.size_px)


def two_views_of_file(raw: RawSample, *, seed: int, epoch: int, index: int, settings: ViewSettings, decode: str) -> TwoViews:
    """`two_views` of a sample as its shard keeps it; the photo is decoded once, for both.

    `decode`: exact, the same views as of the decoded sample; scaled, a JPEG is decoded at 1/2, 1/4 or 1/8 where both crops still have a pixel
    for each pixel of their views, and crop borders move onto that grid, the map's too.

    Raises:
        ShardError: an unreadable member, or an instance map of another size than the photo.
    """
    stored = stored_map_of(raw).numpy()
    numbering = keep_largest(stored, max_objects=settings.max_objects)
    drawn = _draw_both(stored, numbering, seed=seed, epoch=epoch, index=index, settings=settings)
    shrink = _shrink_of(raw, drawn, size_px=settings.size_px) if decode == "scaled" else 1
    if shrink > 1:
        drawn = [_moved_on_grid(view, stored, numbering, shrink=shrink, size_px=settings.size_px) for view in drawn]
    photo = photo_of(raw, shrink=shrink)
    check_size(stored.shape, photo=photo, what="instance map", where=raw.where, shrink=shrink)
    return _cut(photo, drawn, shrink=shrink, index=index, num_dropped=numbering.num_dropped, size_px=settings.size_px)


def _shrink_of(raw: RawSample, drawn: list[DrawnView], *, size_px: int) -> int:
    """Pixels, and photos that are no plain JPEG, are taken in full."""
    plain = isinstance(raw.photo, bytes) and is_plain_jpeg(raw.photo)
    return choose_shrink(*(view.geometry for view in drawn), size_px=size_px) if plain else 1


def _draw_both(stored: UInt8[numpy.ndarray, "H W"], numbering: Numbering, *, seed: int, epoch: int, index: int, settings: ViewSettings) -> list[DrawnView]:
    return [draw_view(stored, numbering, key=(seed, epoch, index, view), settings=settings) for view in (0, 1)]


def draw_view(stored: UInt8[numpy.ndarray, "H W"], numbering: Numbering, *, key: tuple[int, int, int, int], settings: ViewSettings) -> DrawnView:
    """The first acceptable try, or the last one. `key`: seed, epoch, sample index, view."""
    for attempt in range(settings.max_redraws + 1):
        uniforms = uniforms_of(*key, attempt)
        geometry = draw_geometry(uniforms, height=stored.shape[0], width=stored.shape[1], settings=settings)
        instances = numbering.apply(cut_map(stored, geometry=geometry, size_px=settings.size_px))
        share = int(numpy.count_nonzero(instances > 0)) / instances.size
        accepted = settings.foreground_min <= share <= settings.foreground_max
        if accepted:
            break
    return DrawnView(geometry, draw_colour(uniforms, settings=settings), instances, tries=attempt + 1, accepted=accepted)


def _moved_on_grid(view: DrawnView, stored: UInt8[numpy.ndarray, "H W"], numbering: Numbering, *, shrink: int, size_px: int) -> DrawnView:
    geometry = on_grid(view.geometry, shrink=shrink, height=stored.shape[0], width=stored.shape[1])
    instances = numbering.apply(cut_map(stored, geometry=geometry, size_px=size_px))
    return DrawnView(geometry, view.colour, instances, tries=view.tries, accepted=view.accepted)


def _cut(photo: UInt8[Tensor, "3 h w"], drawn: list[DrawnView], *, shrink: int, index: int, num_dropped: int, size_px: int) -> TwoViews:
    query, key = drawn
    emptied = not (query.accepted and key.accepted)
    images = [cut_photo(photo, geometry=shrunk(view.geometry, shrink=shrink), size_px=size_px) for view in drawn]
    maps = [torch.from_numpy(numpy.full_like(view.instances, VOID) if emptied else view.instances) for view in drawn]
    return TwoViews(
        index=index,
        query_image=images[0],
        key_image=images[1],
        query_colour=query.colour,
        key_colour=key.colour,
        query_instances=maps[0],
        key_instances=maps[1],
        num_redrawn=sum(view.tries > 1 for view in drawn),
        emptied=emptied,
        num_dropped_objects=num_dropped,
    )

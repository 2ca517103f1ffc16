"""Make: drawn views through a frozen backbone, into the columns of a chunk."""

from collections.abc import Callable, Iterator

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from mcdist.data.finish import finish
from mcdist.data.order import Request
from mcdist.errors import CheckpointError, ConfigError
from mcdist.store.names import PHOTOS
from mcdist.types import Rgb
from mcdist.view_cache.drawn import Drawn
from mcdist.view_cache.layout import BATCH_VIEWS, COUNTS, FEATURES, INSTANCES, ViewLayout

Tables = dict[str, dict[str, numpy.ndarray]]


class Look:
    """The frozen backbone: pixels in, features out. Always given BATCH_VIEWS images, so that a view's bits depend on no other one."""

    def __init__(self, backbone: Callable[[Tensor], Tensor], *, num_views: int, device: torch.device, mean: Rgb, std: Rgb) -> None:
        """`num_views`: of each pair, 2 or the query alone. `mean`, `std`: of the pixels that it was trained on. The caller sets mode and precision."""
        self.backbone, self.num_views, self.device, self.mean, self.std = backbone, num_views, device, mean, std

    def __call__(self, drawn: Drawn) -> Float[Tensor, "B V h w C"]:
        """Float32 on the host, channels last: query and key view of each pair, or the query."""
        pixels = finish(drawn.batch.to(self.device), mean=self.mean, std=self.std)
        images = torch.stack([pixels.query_images, pixels.key_images][: self.num_views], dim=1).flatten(0, 1)
        num_missing = BATCH_VIEWS - len(images)
        if num_missing:
            images = torch.cat([images, images[:1].expand(num_missing, -1, -1, -1)])
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))[: len(images) - num_missing]
        return features.permute(0, 2, 3, 1).unflatten(0, (-1, self.num_views)).float().cpu()


def requests_of(photos: range, *, layout: ViewLayout) -> Iterator[list[Request]]:
    """The batches of a chunk: all pairs of each photo in turn. Pair k is what epoch k draws."""
    requests = [Request(epoch=pair, index=photo) for photo in photos for pair in range(layout.num_pairs)]
    yield from (requests[start : start + layout.batch_pairs] for start in range(0, len(requests), layout.batch_pairs))


def make_chunk(batches: Iterator[Drawn], *, num_photos: int, layout: ViewLayout, look: Look, on_views: Callable[[int], None] = lambda num: None) -> Tables:
    """The tables of a chunk of so many photos, from its `batches` as `requests_of` orders them. `on_views` hears how many views were added.

    Raises:
        CheckpointError: a feature is not finite.
        ConfigError: a feature is too large for the layout's dtype.
    """
    columns, start = layout.empty(num_photos), 0
    while start < num_photos * layout.num_pairs:
        drawn = next(batches)
        rows = slice(start, start + len(drawn.counts))
        columns[FEATURES][rows] = stored(look(drawn), dtype=columns[FEATURES].dtype)
        for view, instances in enumerate([drawn.batch.query_instances, drawn.batch.key_instances][: layout.num_views]):
            columns[INSTANCES][rows, view] = instances.numpy()
        columns[COUNTS][rows] = drawn.counts
        start = rows.stop
        on_views(layout.num_views * len(drawn.counts))
    return {PHOTOS: {name: values.reshape(num_photos, layout.num_pairs, *values.shape[1:]) for name, values in columns.items()}}


def stored(features: Float[Tensor, "B V h w C"], *, dtype: "numpy.dtype[numpy.floating]") -> Float[numpy.ndarray, "B V h w C"]:
    """Features as they are kept; errors as of `make_chunk`."""
    if not bool(features.isfinite().all()):
        raise CheckpointError("the backbone makes features that are not finite, so there is nothing to train on; start from other weights (model.weights)")
    largest, limit = float(features.abs().max()), float(numpy.finfo(dtype).max)
    if largest > limit:
        raise ConfigError(f"the backbone makes features up to {largest:.3g}, views.cache_dtype=fp16 ends at {limit:g}; set views.cache_dtype=fp32")
    return features.numpy().astype(dtype)

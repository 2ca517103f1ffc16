"""Extract: the objects of all photos once through the backbone, chunk by chunk into a feature store. Any number of processes may share the chunks."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import numpy
import torch
from jaxtyping import Int
from torch import Tensor

from mcdist.errors import CheckpointError
from mcdist.evaluate.table_names import PHOTO
from mcdist.model.backbones.backbone import Backbone
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter
from mcdist.zoom.photos import CutPhotos, ReadPhoto, ZoomedPhotos, cut_photos
from mcdist.zoom.settings import ZoomSettings
from mcdist.zoom.tables import OBJECTS, Tables, concatenated, layout, vectors_of
from mcdist.zoom.vectors import object_vectors

ZOOM_VERSION = 1
"""Raised whenever the same weights, photos and settings would give other arrays, so that no older store is taken for a new one."""

Pictures = tuple[Tensor, Tensor]
"""Of some objects: pictures, and the weights of their cells."""
Vectors = dict[str, Tensor]
"""Of some objects, by kind."""

OBJECTS_A_REQUEST = 64
"""The most that a worker cuts at a time, unless one photo has more: some 10 MB of pictures, so that the first batch does not wait long."""


def extract_zoom(
    read: Callable[[int], ReadPhoto],
    *,
    writer: StoreWriter,
    backbone: Backbone,
    settings: ZoomSettings,
    device: torch.device,
    part: int = 0,
    num_parts: int = 1,
    num_workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda num_done, num_photos: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Write the chunks of this part that are not there yet: every `num_parts`-th chunk, from `part` on.

    A batch holds objects of several photos, all of one chunk. `read` gives a photo by index and is sent to worker processes; `on_progress` is called with
    the photos done and those of this part. `backbone` is on `device`, in evaluation mode.

    Returns:
        Whether the part is complete: False where `should_stop` ended it. The same call goes on with the chunk that it was in.

    Raises:
        ShardError: a photo that cannot be read.
        CheckpointError: a vector is not finite.
        MachineError: the disk refuses, or a worker died.
    """
    places = [place for place in range(len(writer.plan.chunks))[part::num_parts] if not writer.has(place)]
    size = max(1, OBJECTS_A_REQUEST // settings.max_objects)
    requests = {place: _requests(writer.plan.chunks[place], size=size) for place in places}
    photos = ZoomedPhotos(read, settings=settings, grid=settings.size_px // backbone.stride, mean=backbone.mean)
    cut = cut_photos(photos, requests=[request for chunk in requests.values() for request in chunk], num_workers=num_workers)
    done = _Done(on_progress, num_photos=sum(len(writer.plan.chunks[place]) for place in places))
    with closing(cut), torch.inference_mode():
        for place, chunk in requests.items():
            tables: list[Tables] = []
            vectors: list[Vectors] = []
            for images, weights in _batches(_arriving(islice(cut, len(chunk)), tables=tables, done=done), size=max(1, settings.batch // settings.num_views)):
                if should_stop():
                    return False
                vectors.append(object_vectors(images.to(device), weights.to(device), backbone=backbone, num_views=settings.num_views))
            columns = concatenated(tables)
            columns[OBJECTS] |= _vector_columns(vectors or [_no_vectors(photos, backbone=backbone, device=device)], photo_of=columns[OBJECTS][PHOTO])
            writer.write(place, columns)
    return True


def finish_zoom(writer: StoreWriter, *, backbone: Backbone, num_views: int) -> FeatureStore:
    """The complete store, when all parts have written their chunks."""
    return writer.finish(layout(backbone, num_views=num_views))


class _Done:
    """Counts the photos whose objects were given out."""

    def __init__(self, on_progress: Callable[[int, int], None], *, num_photos: int) -> None:
        self.on_progress, self.num_photos, self.num_done = on_progress, num_photos, 0

    def add(self, num: int) -> None:
        """`num` more."""
        self.num_done += num
        self.on_progress(self.num_done, self.num_photos)


def _requests(photos: range, *, size: int) -> list[list[int]]:
    return [list(photos[start : start + size]) for start in range(0, len(photos), size)]


def _arriving(cut: Iterator[CutPhotos], *, tables: list[Tables], done: _Done) -> Iterator[Pictures]:
    """The pictures and weights as they come; the rows beside them are added to `tables`."""
    for photos in cut:
        tables.append(photos.tables)
        yield photos.images, photos.weights
        done.add(len(photos.keys))


def _batches(pieces: Iterator[Pictures], *, size: int) -> Iterator[Pictures]:
    """The same objects, `size` at a time; the last batch may be smaller."""
    left: Pictures | None = None
    for images, weights in pieces:
        left = (images, weights) if left is None else (torch.cat([left[0], images]), torch.cat([left[1], weights]))
        while len(left[0]) >= size:
            yield left[0][:size], left[1][:size]
            left = left[0][size:], left[1][size:]
    if left is not None and len(left[0]):
        yield left


def _no_vectors(photos: ZoomedPhotos, *, backbone: Backbone, device: torch.device) -> Vectors:
    """Vectors of no object, of the lengths that this backbone's have."""
    settings = photos.settings
    images = torch.zeros((1, len(settings.margins), 3, settings.size_px, settings.size_px), dtype=torch.uint8, device=device)
    weights = torch.zeros((1, len(settings.margins), photos.grid, photos.grid), device=device)
    return {kind: values[:0] for kind, values in object_vectors(images, weights, backbone=backbone, num_views=settings.num_views).items()}


def _vector_columns(vectors: list[Vectors], *, photo_of: Int[numpy.ndarray, " O"]) -> dict[str, numpy.ndarray]:
    columns = {}
    for kind in vectors[0]:
        values = torch.cat([batch[kind] for batch in vectors]).cpu()
        bad = photo_of[~torch.isfinite(values).all(dim=1).numpy()]
        if len(bad):
            raise CheckpointError(
                f"the zoomed vectors of every object must be finite, those of {len(bad)} objects are not (the first: of photo {bad[0]}); "
                "the backbone's weights are damaged: give others with model.weights"
            )
        columns[vectors_of(kind)] = values.half().numpy()
    return columns

"""Draw: the panels of an evaluation. A few photos, evenly over the set, read again and shown with what was predicted for them."""

import numpy
import torch
from jaxtyping import Int, UInt8
from torch.nn.functional import interpolate

from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.shards.sample import Sample
from mcdist.evaluate.extract.embed import upsampled
from mcdist.evaluate.extract.masks import predicted_objects
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.table_names import NUMBER, PHOTO, SALIENCY
from mcdist.evaluate.truth import Truth
from mcdist.evaluate.view import StoreView
from mcdist.records import Panel
from mcdist.records.names import PREDICTED
from mcdist.store.names import PHOTOS


def even_places(num_photos: int, *, num_wanted: int) -> list[int]:
    """At most `num_wanted` of 0..num_photos-1, in order and evenly: of every stride-th photo, the stride being the least power of two that leaves no more
    than twice as many as are wanted."""
    kept, stride = list(range(num_photos)), 1
    while len(kept) > 2 * num_wanted and num_wanted:
        stride *= 2
        kept = list(range(0, num_photos, stride))
    places = numpy.linspace(0, len(kept) - 1, min(num_wanted, len(kept))).round().astype(int)
    return [kept[place] for place in places]


def make_panel(sample: Sample, *, photo: int, store: StoreView, painting: Painting, embedding: UInt8[numpy.ndarray, "h w 3"] | None = None) -> Panel:
    """The panel of photo number `photo`, which `sample` is, with the classes that `painting` gave its objects, and its embedding in colours."""
    height, width = sample.photo.shape[1:]
    size_px = store.store.manifest.plan.settings["size_px"]
    saliency = upsampled(torch.from_numpy(store.store.column(PHOTOS, SALIENCY).take(numpy.array([photo]))), size_px=size_px)
    objects = _predicted(saliency, store=store, height=height, width=width) if painting.masks == PREDICTED else sample.instances.numpy()
    classes = _classes_by_number(store, photo=photo, painting=painting)
    probability = interpolate(torch.sigmoid(saliency)[None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    return Panel(
        key=sample.key,
        photo=sample.photo.permute(1, 2, 0).numpy(),
        proposals=sample.instances.numpy(),
        saliency=probability.numpy(),
        clusters=classes[numpy.where((objects >= 0) & (objects < len(classes)), objects, 0)].astype(numpy.uint8),
        truth=_truth(sample, truth=store.truth) if store.truth is not None and sample.segments is not None else None,
        embedding=embedding,
    )


def _predicted(saliency: torch.Tensor, *, store: StoreView, height: int, width: int) -> numpy.ndarray:
    settings = store.store.manifest.plan.settings
    masks, _ = predicted_objects(saliency, objects=settings["objects"], area_min=settings["component_area_min"], logit_min=settings["saliency_logit_min"])
    return resize_nearest(masks.objects[0].numpy(), height=height, width=width)


def _classes_by_number(store: StoreView, *, photo: int, painting: Painting) -> Int[numpy.ndarray, " numbers"]:
    """The class of each object number of a photo; 0 and numbers without a vector have the background's."""
    rows = numpy.flatnonzero(store.store.column(painting.masks, PHOTO).read() == photo)
    numbers = store.store.column(painting.masks, NUMBER).take(rows)
    classes = numpy.full(int(numbers.max(initial=0)) + 1, painting.class_of_background)
    classes[numbers] = painting.class_of_object[rows]
    return classes


def _truth(sample: Sample, *, truth: Truth) -> UInt8[numpy.ndarray, "H W"]:
    """Index of every pixel's class among those evaluated, VOID_CLASS for all others."""
    assert sample.segments is not None
    new_index = numpy.full(256, VOID_CLASS, dtype=numpy.uint8)
    new_index[truth.kept] = numpy.arange(len(truth.kept))
    return new_index[truth.labels.apply(sample.segments.numpy())]

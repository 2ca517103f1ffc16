"""Photo pass: the one pass over the photos, batch by batch through both encoders into a Collection."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from mcdist.data.shards.sample import Sample
from mcdist.evaluate.collection import Collection, Prepared, prepare, stack_proposals
from mcdist.evaluate.embed import ObjectMasks, evaluating, evaluation_step
from mcdist.evaluate.labels import LabelMap
from mcdist.evaluate.masks import component_objects, photo_objects
from mcdist.evaluate.panels import EvenSpread
from mcdist.evaluate.subject import EncoderPair, EvaluationSettings

DROPPED = "predicted: components below component_area_min"


def collect(
    samples: Iterable[Sample],
    *,
    encoders: EncoderPair,
    settings: EvaluationSettings,
    labels: LabelMap | None,
    on_progress: Callable[[int], None] | None,
) -> Collection:
    """Embed the objects of all photos; without `labels` no ground truth is asked for. `on_progress` hears the photos done so far.

    Raises:
        DataError: a photo has no ground truth, and `labels` name classes.
        CheckpointError: an embedding is not finite.
    """
    collected = Collection(num_classes=len(labels.names) if labels else 1, spread=EvenSpread(settings.num_panels))
    predict_objects = partial(_predict_objects, collected=collected, settings=settings)
    with evaluating(encoders.trained, encoders.initial):
        for chunk in _chunks(samples, size=settings.batch):
            photos = [prepare(sample, size_px=settings.size_px, labels=labels) for sample in chunk]
            _add_photos(collected, photos, encoders=encoders, predict_objects=predict_objects)
            if on_progress is not None:
                on_progress(collected.num_photos)
    return collected


def _chunks(samples: Iterable[Sample], *, size: int) -> Iterator[list[Sample]]:
    remaining = iter(samples)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _add_photos(collected: Collection, photos: list[Prepared], *, encoders: EncoderPair, predict_objects: Callable[[Tensor], ObjectMasks]) -> None:
    images = torch.stack([photo.image for photo in photos]).to(encoders.device)
    proposals = stack_proposals(photos, device=encoders.device)
    embedded = evaluation_step(images, trained=encoders.trained, initial=encoders.initial, proposals=proposals, predict_objects=predict_objects)
    collected.add(photos, embedded=embedded)


def _predict_objects(saliency: Tensor, *, collected: Collection, settings: EvaluationSettings) -> ObjectMasks:
    if settings.objects == "photo":
        return ObjectMasks(objects=photo_objects(saliency), max_objects=1)
    found, num_dropped = component_objects(saliency, area_min=settings.component_area_min)
    collected.counts[DROPPED] += num_dropped
    return ObjectMasks(objects=found, max_objects=max(1, int(found.max())))

"""Extract: the photos once through both encoders, chunk by chunk into a feature store. Any number of processes may share the chunks."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.evaluate.extract.embed import EmbeddedPhotos, embed, upsampled
from mcdist.evaluate.extract.encoders import Encoders, evaluating
from mcdist.evaluate.extract.layout import layout
from mcdist.evaluate.extract.masks import ObjectMasks, logit_min_of, predicted_objects
from mcdist.evaluate.extract.measure import Batch, Columns, concatenated
from mcdist.evaluate.extract.photos import Photos, Prepared, prepared_batches
from mcdist.evaluate.extract.pool import pool_objects
from mcdist.evaluate.extract.segments import group_maps
from mcdist.evaluate.inputs import INPUTS
from mcdist.evaluate.settings import ExtractSettings
from mcdist.records.names import PREDICTED, PROPOSALS
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter

EXTRACT_VERSION = 2
"""Raised whenever the same checkpoint, photos and settings would give other arrays, so that no older store is taken for a new one."""


def extract(
    photos: Photos,
    *,
    writer: StoreWriter,
    encoders: Encoders,
    settings: ExtractSettings,
    part: int = 0,
    num_parts: int = 1,
    num_workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda num_done, num_photos: None,
) -> None:
    """Write the chunks of this part that are not there yet: every `num_parts`-th chunk, from `part` on.

    A batch never spans two chunks, so each photo is embedded beside the same others, whatever the parts. `on_progress` is called with the photos done and
    those of this part.

    Raises:
        DataError: a photo has no ground truth where that is asked for.
        CheckpointError: an embedding is not finite.
        MachineError: the disk refuses, or a worker died.
    """
    places = [place for place in range(len(writer.plan.chunks))[part::num_parts] if not writer.has(place)]
    batches = {place: _batches(writer.plan.chunks[place], size=settings.batch) for place in places}
    num_photos, num_done = sum(len(batch) for chunk in batches.values() for batch in chunk), 0
    prepared = prepared_batches(
        photos,
        batches=[batch for chunk in batches.values() for batch in chunk],
        size_px=settings.size_px,
        with_truth=settings.with_truth,
        num_workers=num_workers,
        interpolation=INPUTS[settings.input].interpolation,
    )
    with closing(prepared), evaluating(*encoders.modules):
        for place, chunk in batches.items():
            tables = []
            for batch, ready in zip(chunk, islice(prepared, len(chunk)), strict=True):
                tables.append(extract_batch(ready, first=batch[0], encoders=encoders, settings=settings))
                num_done += len(batch)
                on_progress(num_done, num_photos)
            writer.write(place, concatenated(tables))


def finish(writer: StoreWriter, *, encoders: Encoders, settings: ExtractSettings) -> FeatureStore:
    """The complete store, when all parts have written their chunks."""
    return writer.finish(layout(encoders, settings=settings))


def extract_batch(photos: list[Prepared], *, first: int, encoders: Encoders, settings: ExtractSettings) -> dict[str, Columns]:
    """The rows of one batch, whose first photo has index `first`: features, then masks, then vectors."""
    images = torch.stack([photo.image for photo in photos]).to(encoders.device)
    proposals = _stacked_proposals(photos, device=encoders.device)
    embedded = embed(images, encoders=encoders, predicted_by=settings.predicted_by, decoded=settings.decoded)
    masks, saliency, num_dropped = _masks(embedded, proposals=proposals, settings=settings)
    vectors = pool_objects(embedded.features, masks=masks, saliency=saliency)
    batch = Batch(photos, first=first, masks=masks)
    batch.add_photos(embedded, num_dropped=num_dropped)
    batch.add_vectors(vectors)
    batch.add_objects()
    if embedded.groups is not None and settings.with_truth:
        foreground = saliency > logit_min_of(settings.predicted_by) if settings.predicted_by == "saliency" else None
        batch.add_segments(group_maps(embedded.groups, num_groups=encoders.num_groups, size_px=settings.size_px, foreground=foreground))
        if settings.crf_alpha:
            logits = embedded.saliency - logit_min_of("saliency") if embedded.saliency is not None and settings.predicted_by == "saliency" else None
            batch.add_crf_segments(embedded, num_groups=encoders.num_groups, foreground=logits, alpha=settings.crf_alpha)
    if settings.patches:
        batch.add_patches(embedded)
    if settings.mirrored:
        batch.add_mirrored(embed(images.flip(-1), encoders=encoders, predicted_by=settings.predicted_by))
    if embedded.decoded is not None:
        batch.add_decoded(embedded.decoded)
    if settings.label_maps:
        batch.add_label_maps()
    return batch.tables


def _masks(
    embedded: EmbeddedPhotos, *, proposals: ObjectMasks, settings: ExtractSettings
) -> tuple[dict[str, ObjectMasks], Float[Tensor, "B S S"], Int[numpy.ndarray, " B"]]:
    """(sets of masks, logits at the photos' size, components too small). Without a head that predicts any, the given masks alone, and logits of 1."""
    if embedded.saliency is None:
        return {PROPOSALS: proposals}, torch.ones_like(proposals.objects, dtype=torch.float32), numpy.zeros(len(proposals.objects), dtype=numpy.int64)
    saliency = upsampled(embedded.saliency, size_px=settings.size_px)
    logit_min = logit_min_of(settings.predicted_by)
    predicted, num_dropped = predicted_objects(saliency, objects=settings.objects, area_min=settings.component_area_min, logit_min=logit_min)
    return {PREDICTED: predicted, PROPOSALS: proposals}, saliency, num_dropped


def _batches(photos: range, *, size: int) -> list[list[int]]:
    return [list(photos[start : start + size]) for start in range(0, len(photos), size)]


def _stacked_proposals(photos: list[Prepared], *, device: torch.device) -> ObjectMasks:
    """The proposals of a batch on the device; `max_objects` is read before the copy, so nothing waits for the device."""
    stacked = torch.stack([photo.proposals for photo in photos])
    return ObjectMasks(objects=stacked.to(device), max_objects=max(1, int(stacked.max())))

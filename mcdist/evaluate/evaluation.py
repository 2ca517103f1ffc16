"""Evaluation: photos with ground truth to the table of scores. One pass over the photos, then every row from what it collected."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mcdist.data.sample import Sample
from mcdist.evaluate.assign import matching_for
from mcdist.evaluate.collection import NO_TRUTH, Collection, Prepared, prepare, stack_proposals
from mcdist.evaluate.embed import MASKCONTRAST_KMEANS, MASKS, MEAN_EMBEDDING, PREDICTED, PROPOSALS, ObjectMasks, evaluating, evaluation_step
from mcdist.evaluate.kmeans import NUM_ITERATIONS, NUM_STARTS
from mcdist.evaluate.labels import LabelMap, label_map
from mcdist.evaluate.masks import SALIENCY_LOGIT_MIN, component_objects, photo_objects
from mcdist.evaluate.panels import EvenSpread, finish_panel, renumbering
from mcdist.evaluate.table import Table, kept_classes, make_table
from mcdist.evaluate.unlabelled import find_clusters
from mcdist.records import Evaluation, Example, Panel

DROPPED = "predicted: components below component_area_min"


def evaluate(
    samples: Iterable[Sample],
    *,
    trained: nn.Module,
    initial: nn.Module,
    classes: dict[str, list[int]],
    dataset: str,
    num_photos_in_dataset: int,
    step: int,
    device: torch.device,
    size_px: int,
    batch: int,
    objects: str,
    component_area_min: float,
    pca_dim: int,
    mean_embedding_pca_dim: int,
    num_clusters: int,
    num_seeds: int,
    num_panels: int,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, list[Panel]]:
    """Score the trained encoder, the encoder before training and both backbones by clustering, all on the same object masks.

    Masks: the trained encoder's predicted ones, then the given proposals. Protocols: `maskcontrast-kmeans` (the headline, as the paper's released
    code) and `mean-embedding`. Random labels once a mask set. The arguments are those of `EvaluateConfig`; `trained` and `initial` lie on
    `device`, offer `backbone(image)` and `head(features)`, and come back in the mode they had. `on_progress` hears the photos done so far.

    Raises:
        ConfigError: `classes` is empty or contradicts itself.
        DataError: no photos, a photo without ground truth, or a ground truth that shows no class but background.
        CheckpointError: an embedding is not finite.
        MissingExtraError: FAISS is not installed.
    """
    start = time.monotonic()
    labels = label_map(classes)
    collected = collect(
        samples,
        labels=labels,
        trained=trained,
        initial=initial,
        device=device,
        size_px=size_px,
        batch=batch,
        objects=objects,
        component_area_min=component_area_min,
        num_panels=num_panels,
        on_progress=on_progress,
    )
    kept = kept_classes(collected, names=labels.names, dataset=dataset)
    pca_dims = {MASKCONTRAST_KMEANS: pca_dim, MEAN_EMBEDDING: mean_embedding_pca_dim}
    table = make_table(collected, kept=kept, names=labels.names, pca_dims=pca_dims, num_clusters=num_clusters, num_seeds=num_seeds)
    quoted = table.rows[table.headline]
    panels = [
        finish_panel(
            draft, masks=quoted.score.masks, class_of_object=quoted.class_of_object, class_of_background=quoted.class_of_background, new_index=renumbering(kept)
        )
        for draft in collected.spread.chosen()
    ]
    settings = {
        "classes": {name: [int(raw_id) for raw_id in ids] for name, ids in classes.items()},
        "absent_classes": _absent_classes(table, names=labels.names),
        "limit": collected.num_photos if collected.num_photos < num_photos_in_dataset else None,
        "device": device.type,
        **_mask_settings(size_px=size_px, objects=objects, component_area_min=component_area_min),
        **_clustering_settings(table, pca_dims=pca_dims, num_seeds=num_seeds),
        "counts": {what: int(number) for what, number in sorted(collected.counts.items())},
    }
    evaluation = Evaluation(
        step=step,
        dataset=dataset,
        classes=table.classes,
        num_photos=collected.num_photos,
        num_photos_in_dataset=num_photos_in_dataset,
        mask_iou_percent=table.mask_iou_percent,
        scores=tuple(row.score for row in table.rows),
        headline=table.headline,
        settings=settings,
        wall_s=time.monotonic() - start,
    )
    return evaluation, panels


def evaluate_unlabelled(
    samples: Iterable[Sample],
    *,
    trained: nn.Module,
    initial: nn.Module,
    dataset: str,
    num_photos_in_dataset: int,
    step: int,
    device: torch.device,
    size_px: int,
    batch: int,
    objects: str,
    component_area_min: float,
    pca_dim: int,
    mean_embedding_pca_dim: int,
    num_clusters: int,
    num_seeds: int,
    num_panels: int,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, list[Panel], tuple[tuple[Example, ...], ...]]:
    """As `evaluate`, where no ground truth is known: clusters, how clear and steady they are, panels, and for each cluster its most typical objects.

    Raises:
        DataError: no photos, or fewer than two objects.
        CheckpointError: an embedding is not finite.
        MissingExtraError: FAISS is not installed.
    """
    start = time.monotonic()
    collected = collect(
        samples,
        labels=None,
        trained=trained,
        initial=initial,
        device=device,
        size_px=size_px,
        batch=batch,
        objects=objects,
        component_area_min=component_area_min,
        num_panels=num_panels,
        on_progress=on_progress,
    )
    pca_dims = {MASKCONTRAST_KMEANS: pca_dim, MEAN_EMBEDDING: mean_embedding_pca_dim}
    found = find_clusters(collected, pca_dims=pca_dims, num_clusters=num_clusters, num_seeds=num_seeds, dataset=dataset)
    panels = [
        finish_panel(draft, masks=found.rows[found.headline].masks, class_of_object=found.cluster_of_object, class_of_background=0, new_index=None)
        for draft in collected.spread.chosen()
    ]
    counts = {what: int(number) for what, number in sorted(collected.counts.items()) if what != NO_TRUTH}
    settings = {
        "ground truth": "none: no score says whether the clusters are right",
        "limit": collected.num_photos if collected.num_photos < num_photos_in_dataset else None,
        "device": device.type,
        **_mask_settings(size_px=size_px, objects=objects, component_area_min=component_area_min),
        "pca_dim": dict(pca_dims),
        "pca": "with whitening, over all objects",
        "kmeans": {"library": "faiss", "num_clusters": found.num_clusters, "chosen_by": found.chosen_by, "seeds": num_seeds},
        "counts": counts,
    }
    evaluation = Evaluation(
        step=step,
        dataset=dataset,
        classes=("background", *(f"cluster {number}" for number in range(1, found.num_clusters + 1))),
        num_photos=collected.num_photos,
        num_photos_in_dataset=num_photos_in_dataset,
        mask_iou_percent={},
        scores=(),
        headline=found.headline,
        settings=settings,
        wall_s=time.monotonic() - start,
        clusters=found.rows,
    )
    return evaluation, panels, found.examples


def collect(
    samples: Iterable[Sample],
    *,
    labels: LabelMap | None,
    trained: nn.Module,
    initial: nn.Module,
    device: torch.device,
    size_px: int,
    batch: int,
    objects: str,
    component_area_min: float,
    num_panels: int,
    on_progress: Callable[[int], None] | None,
) -> Collection:
    """The one pass over the photos; without `labels` no ground truth is asked for."""
    collected = Collection(num_classes=len(labels.names) if labels else 1, spread=EvenSpread(num_panels))
    predict_objects = partial(_predict_objects, collected=collected, objects=objects, area_min=component_area_min)
    with evaluating(trained, initial):
        for chunk in _chunks(samples, size=batch):
            photos = [prepare(sample, size_px=size_px, labels=labels) for sample in chunk]
            _add_photos(collected, photos, trained=trained, initial=initial, device=device, predict_objects=predict_objects)
            if on_progress is not None:
                on_progress(collected.num_photos)
    return collected


def _chunks(samples: Iterable[Sample], *, size: int) -> Iterator[list[Sample]]:
    remaining = iter(samples)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _add_photos(
    collected: Collection,
    photos: list[Prepared],
    *,
    trained: nn.Module,
    initial: nn.Module,
    device: torch.device,
    predict_objects: Callable[[Tensor], ObjectMasks],
) -> None:
    images = torch.stack([photo.image for photo in photos]).to(device)
    proposals = stack_proposals(photos, device=device)
    embedded = evaluation_step(images, trained=trained, initial=initial, proposals=proposals, predict_objects=predict_objects)
    collected.add(photos, embedded=embedded)


def _predict_objects(saliency: Tensor, *, collected: Collection, objects: str, area_min: float) -> ObjectMasks:
    if objects == "photo":
        return ObjectMasks(objects=photo_objects(saliency), max_objects=1)
    found, num_dropped = component_objects(saliency, area_min=area_min)
    collected.counts[DROPPED] += num_dropped
    return ObjectMasks(objects=found, max_objects=max(1, int(found.max())))


def _mask_settings(*, size_px: int, objects: str, component_area_min: float) -> dict[str, Any]:
    """How photos became objects, and objects vectors."""
    return {
        "size_px": size_px,
        "objects": objects,
        "component_area_min": component_area_min if objects == "components" else None,
        "saliency_logit_min": SALIENCY_LOGIT_MIN,
        "object_weight": {PREDICTED: "saliency logit", PROPOSALS: "1"},
    }


def _clustering_settings(table: Table, *, pca_dims: dict[str, int], num_seeds: int) -> dict[str, Any]:
    """How the rows were made, and what was smaller than asked for."""
    fewer = {" / ".join(row): num_dims for row, num_dims in table.num_dims.items() if num_dims < pca_dims[row[1]]}
    return {
        "pca_dim": dict(pca_dims),
        "pca": "with whitening, over all objects",
        "pca_dim_fewer": fewer,
        "kmeans": {"library": "faiss", "num_clusters": table.num_clusters, "num_iterations": NUM_ITERATIONS, "num_starts": NUM_STARTS, "seeds": num_seeds},
        "fewer_objects_than_clusters": [masks for masks in MASKS if table.counts[masks].num_objects < table.num_clusters],
        "matching": matching_for(num_clusters=table.num_clusters, num_classes=len(table.classes)),
        "iou": "over all pixels but void, whole set; background takes part",
    }


def _absent_classes(table: Table, *, names: tuple[str, ...]) -> list[str]:
    """Classes the ground truth never shows: they are in no mean. Background stays in the table even then, with IoU 0."""
    present = table.counts[MASKS[0]].present
    shown = {name for name, seen in zip(table.classes, present, strict=True) if seen}
    return [name for name in names if name not in shown]

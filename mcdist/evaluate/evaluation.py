"""Evaluation: photos to the table of scores, or to clusters where no ground truth is known. One pass over the photos, then every row from what it collected."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy
from jaxtyping import Int, UInt8

from mcdist.evaluate.assign import matching_for
from mcdist.evaluate.collection import NO_TRUTH, Collection
from mcdist.evaluate.embed import MASKS, PREDICTED, PROPOSALS
from mcdist.evaluate.kmeans import NUM_ITERATIONS, NUM_STARTS
from mcdist.evaluate.labels import label_map
from mcdist.evaluate.masks import SALIENCY_LOGIT_MIN
from mcdist.evaluate.panels import finish_panel, renumbering
from mcdist.evaluate.photo_pass import collect
from mcdist.evaluate.subject import EncoderPair, EvaluationSettings, PhotoSet
from mcdist.evaluate.table import Table, kept_classes, make_table
from mcdist.evaluate.unlabelled import find_clusters
from mcdist.records import ClusterScore, Evaluation, Example, Panel, Score


def evaluate(
    photos: PhotoSet,
    *,
    encoders: EncoderPair,
    settings: EvaluationSettings,
    classes: dict[str, list[int]],
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, list[Panel]]:
    """Score the trained encoder, the encoder before training and both backbones by clustering, all on the same object masks.

    Masks: the trained encoder's predicted ones, then the given proposals. Protocols: `maskcontrast-kmeans` (the headline, as the paper's released
    code) and `mean-embedding`. Random labels once a mask set. `classes`: name -> ids in the ground truth, background first. `on_progress` hears the
    photos done so far.

    Raises:
        ConfigError: `classes` is empty or contradicts itself.
        DataError: no photos, a photo without ground truth, or a ground truth that shows no class but background.
        CheckpointError: an embedding is not finite.
        MissingExtraError: FAISS is not installed.
    """
    began_s = time.monotonic()
    labels = label_map(classes)
    collected = collect(photos.samples, encoders=encoders, settings=settings, labels=labels, on_progress=on_progress)
    kept = kept_classes(collected, names=labels.names, dataset=photos.dataset)
    table = make_table(collected, kept=kept, names=labels.names, settings=settings)
    quoted = table.rows[table.headline]
    found = Findings(
        classes=table.classes,
        scores=tuple(row.score for row in table.rows),
        headline=table.headline,
        mask_iou_percent=table.mask_iou_percent,
        masks=quoted.score.masks,
        class_of_object=quoted.class_of_object,
        class_of_background=quoted.class_of_background,
        index_of_truth=renumbering(kept),
        truth={
            "classes": {name: [int(raw_id) for raw_id in ids] for name, ids in classes.items()},
            "absent_classes": table.absent(labels.names),
        },
        clustering=_clustering_settings(table, settings=settings),
        counts=collected.counts,
    )
    return _told(found, collected=collected, photos=photos, encoders=encoders, settings=settings, began_s=began_s)


def evaluate_unlabelled(
    photos: PhotoSet,
    *,
    encoders: EncoderPair,
    settings: EvaluationSettings,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, list[Panel], tuple[tuple[Example, ...], ...]]:
    """As `evaluate`, where no ground truth is known: clusters, how clear and steady they are, panels, and for each cluster its most typical objects.

    Raises:
        DataError: no photos, or fewer than two objects.
        CheckpointError: an embedding is not finite.
        MissingExtraError: FAISS is not installed.
    """
    began_s = time.monotonic()
    collected = collect(photos.samples, encoders=encoders, settings=settings, labels=None, on_progress=on_progress)
    clusters = find_clusters(collected, settings=settings, dataset=photos.dataset)
    found = Findings(
        classes=("background", *(f"cluster {number}" for number in range(1, clusters.num_clusters + 1))),
        clusters=clusters.rows,
        headline=clusters.headline,
        masks=clusters.rows[clusters.headline].masks,
        class_of_object=clusters.cluster_of_object,
        class_of_background=0,
        index_of_truth=None,
        truth={"ground truth": "none: no score says whether the clusters are right"},
        clustering={"kmeans": {"library": "faiss", "num_clusters": clusters.num_clusters, "chosen_by": clusters.chosen_by, "seeds": settings.num_seeds}},
        counts=Counter({what: number for what, number in collected.counts.items() if what != NO_TRUTH}),
    )
    evaluation, panels = _told(found, collected=collected, photos=photos, encoders=encoders, settings=settings, began_s=began_s)
    return evaluation, panels, clusters.examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What became of the objects: the rows, and the classes or clusters that the row to quote gave to the objects of `masks`.

    `headline` is that row's place in `scores`, or in `clusters` where there is no truth; `index_of_truth` gives the true classes their place in `classes`.
    `truth` and `clustering` are told in the evaluation's settings.
    """

    classes: tuple[str, ...]
    scores: tuple[Score, ...] = ()
    clusters: tuple[ClusterScore, ...] = ()
    headline: int
    mask_iou_percent: dict[str, float] = field(default_factory=dict)
    masks: str
    class_of_object: Int[numpy.ndarray, " O"]
    class_of_background: int
    index_of_truth: UInt8[numpy.ndarray, " 256"] | None
    truth: dict[str, Any]
    clustering: dict[str, Any]
    counts: Counter


def _told(
    found: Findings, *, collected: Collection, photos: PhotoSet, encoders: EncoderPair, settings: EvaluationSettings, began_s: float
) -> tuple[Evaluation, list[Panel]]:
    """The findings as records, with what was measured how."""
    panels = [
        finish_panel(
            draft,
            masks=found.masks,
            class_of_object=found.class_of_object,
            class_of_background=found.class_of_background,
            new_index=found.index_of_truth,
        )
        for draft in collected.spread.chosen()
    ]
    told = {
        **found.truth,
        "limit": collected.num_photos if collected.num_photos < photos.num_photos else None,
        "device": encoders.device.type,
        **_mask_settings(settings),
        "pca_dim": settings.pca_dims,
        "pca": "with whitening, over all objects",
        **found.clustering,
        "counts": {what: int(number) for what, number in sorted(found.counts.items())},
    }
    evaluation = Evaluation(
        step=encoders.step,
        dataset=photos.dataset,
        classes=found.classes,
        num_photos=collected.num_photos,
        num_photos_in_dataset=photos.num_photos,
        mask_iou_percent=found.mask_iou_percent,
        scores=found.scores,
        headline=found.headline,
        settings=told,
        wall_s=time.monotonic() - began_s,
        clusters=found.clusters,
    )
    return evaluation, panels


def _mask_settings(settings: EvaluationSettings) -> dict[str, Any]:
    """How photos became objects, and objects vectors."""
    return {
        "size_px": settings.size_px,
        "objects": settings.objects,
        "component_area_min": settings.component_area_min if settings.objects == "components" else None,
        "saliency_logit_min": SALIENCY_LOGIT_MIN,
        "object_weight": {PREDICTED: "saliency logit", PROPOSALS: "1"},
    }


def _clustering_settings(table: Table, *, settings: EvaluationSettings) -> dict[str, Any]:
    """How the rows were made, and what was smaller than asked for."""
    fewer = {" / ".join(row): num_dims for row, num_dims in table.num_dims.items() if num_dims < settings.pca_dims[row[1]]}
    clusters = {"num_clusters": table.num_clusters, "num_iterations": NUM_ITERATIONS, "num_starts": NUM_STARTS, "seeds": settings.num_seeds}
    return {
        "pca_dim_fewer": fewer,
        "kmeans": {"library": "faiss", **clusters},
        "fewer_objects_than_clusters": [masks for masks in MASKS if table.counts[masks].num_objects < table.num_clusters],
        "matching": matching_for(num_clusters=table.num_clusters, num_classes=len(table.classes)),
        "iou": "over all pixels but void, whole set; background takes part",
    }

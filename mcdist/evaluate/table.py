"""Table: every row of the evaluation from what one pass collected. The same masks serve all encoders, protocols and seeds."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Int

from mcdist.errors import DataError
from mcdist.evaluate.collection import Collection
from mcdist.evaluate.confusion import foreground_iou
from mcdist.evaluate.embed import ENCODERS, MASKCONTRAST_KMEANS, MASKS, PREDICTED, PROTOCOLS
from mcdist.evaluate.protocols import Clustering, MaskCounts, cluster_row, random_row
from mcdist.evaluate.subject import EvaluationSettings

HEADLINE = (PREDICTED, MASKCONTRAST_KMEANS, "trained")


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` in reading order; `headline` is the place of the row to quote; `num_dims` tells how many dimensions each row clustered."""

    rows: tuple[Clustering, ...]
    headline: int
    counts: dict[str, MaskCounts]
    num_clusters: int
    num_dims: dict[tuple[str, str, str], int]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the evaluated classes, background first."""
        return self.counts[PREDICTED].classes

    @property
    def mask_iou_percent(self) -> dict[str, float]:
        """Foreground IoU of each set of masks with all classes but background."""
        return {masks: 100 * foreground_iou(histograms=counts.histograms, background=counts.background) for masks, counts in self.counts.items()}

    def absent(self, names: tuple[str, ...]) -> list[str]:
        """Those of `names` that the ground truth never shows: they are in no mean. Background stays in the table even then, with IoU 0."""
        shown = {name for name, seen in zip(self.classes, self.counts[PREDICTED].present, strict=True) if seen}
        return [name for name in names if name not in shown]


def kept_classes(collected: Collection, *, names: tuple[str, ...], dataset: str) -> Int[numpy.ndarray, " C"]:
    """Classes to evaluate, as indices into `names`: background, and each class the ground truth shows.

    Raises:
        DataError: no photos, or no pixel of any class but background.
    """
    if not collected.num_photos:
        raise DataError(f"evaluation wants photos, {dataset} gave none; set data.val to shards with photos and labels")
    num_pixels = collected.background[PREDICTED] + sum(histogram.sum(axis=0) for histogram in collected.histograms[PREDICTED])
    if not num_pixels[1:].any():
        raise DataError(
            f"evaluation wants ground truth of at least one of {', '.join(names[1:])}; the {collected.num_photos} photos of {dataset} show none; "
            "check the ids in evaluate.classes against the labels"
        )
    return numpy.flatnonzero((num_pixels > 0) | (numpy.arange(len(names)) == 0))


def make_table(
    collected: Collection,
    *,
    kept: Int[numpy.ndarray, " C"],
    names: tuple[str, ...],
    settings: EvaluationSettings,
) -> Table:
    """All rows: masks x protocol x encoder, and random labels once a mask set. `num_clusters` 0: classes shown without background."""
    num_clusters, num_seeds = settings.num_clusters or len(kept) - 1, settings.num_seeds
    counts = {masks: _mask_counts(collected, masks=masks, kept=kept, names=names) for masks in MASKS}
    rows: list[Clustering] = []
    num_dims: dict[tuple[str, str, str], int] = {}
    for masks in MASKS:
        for protocol in PROTOCOLS:
            for encoder in ENCODERS:
                vectors = torch.cat(collected.vectors[masks, protocol, encoder])
                row, num_dims[masks, protocol, encoder] = cluster_row(
                    vectors,
                    counts=counts[masks],
                    protocol=protocol,
                    encoder=encoder,
                    pca_dim=settings.pca_dims[protocol],
                    num_clusters=num_clusters,
                    num_seeds=num_seeds,
                )
                rows.append(row)
        rows.append(random_row(counts=counts[masks], protocol=MASKCONTRAST_KMEANS, num_clusters=num_clusters, num_seeds=num_seeds))
    headline = [(row.score.masks, row.score.protocol, row.score.encoder) for row in rows].index(HEADLINE)
    return Table(rows=tuple(rows), headline=headline, counts=counts, num_clusters=num_clusters, num_dims=num_dims)


def _mask_counts(collected: Collection, *, masks: str, kept: Int[numpy.ndarray, " C"], names: tuple[str, ...]) -> MaskCounts:
    return MaskCounts(
        masks=masks,
        histograms=numpy.concatenate(collected.histograms[masks])[:, kept],
        background=collected.background[masks][kept],
        classes=tuple(names[index] for index in kept),
    )

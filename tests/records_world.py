"""Evaluations as several trainings leave them: rows with draws over the same photos."""

import numpy

from mcdist.records import Evaluation, Row, Subject
from mcdist.records.names import INITIAL_BACKBONE, TRAINED


def make_row(encoder: str, mean: float, *, protocol: str = "maskcontrast-kmeans", seed: int = 0) -> Row:
    """Two clusterings a point apart, and draws of one point around the mean; the noise of the draws is the same for a seed."""
    noise = numpy.random.default_rng(seed).normal(0, 1, 50)
    draws = tuple((mean + noise).astype(numpy.float32).astype(float).tolist())
    details = {"num_clusters": 2, "matching": "hungarian", "class_iou_percent": [mean, mean], "confusion": [[5, 1], [2, 6]]}
    return Row(protocol, Subject(encoder, "predicted"), "mIoU", "%", (mean - 0.5, mean + 0.5), details, draws)


def make_evaluation(trained: float, start: float, *, photos: str = "p" * 64, protocol: str = "maskcontrast-kmeans", step: int = 10) -> Evaluation:
    """A trained encoder and its start."""
    return Evaluation(
        step=step,
        dataset="val",
        has_truth=True,
        classes=("background", "cat"),
        num_photos=5,
        num_photos_in_dataset=5,
        mask_iou_percent={},
        rows=(make_row(TRAINED, trained, protocol=protocol), make_row(INITIAL_BACKBONE, start, protocol=protocol)),
        headline=0,
        protocols={protocol: {"pca_dim": 2}},
        settings={},
        wall_s=1.0,
        photos=photos,
    )

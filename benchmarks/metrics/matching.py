"""How much faster is one streaming confusion matrix than a pass over all pixels for each pair of cluster and class?

    python -m benchmarks.metrics.matching --json benchmarks/metrics/results/matching.json
    python -m benchmarks.metrics.matching --clusters 300 --photos 20

Maps are generated: regions with smooth outlines, as segmentations have them, and with `--noise` a share of pixels drawn anew, which is the worst case for
counting runs. Each way matches clusters with classes and gives mIoU; one whose result is not the same number is not timed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer
from scipy.ndimage import zoom
from scipy.optimize import linear_sum_assignment

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, times_ms
from mcdist.errors import McdistError
from mcdist.evaluate.metrics.assign import HUNGARIAN, MAJORITY, assign
from mcdist.evaluate.metrics.confusion import Confusion, class_confusion, class_counts, mean_iou

NUM_CLASSES, VOID = 21, 255
HEIGHT, WIDTH = 375, 500

Maps = tuple[list[numpy.ndarray], list[numpy.ndarray]]


def make_maps(*, num_photos: int, num_clusters: int, noise: float) -> Maps:
    """(predictions, truths): the truth's regions under other numbers, shifted, with a void outline."""
    random = numpy.random.default_rng(0)
    predicted, truths = [], []
    for _ in range(num_photos):
        fields = zoom(random.normal(size=(4, 6, 8)), (1, HEIGHT / 6, WIDTH / 8), order=1)
        labels = random.permutation(NUM_CLASSES)[:4]
        truth = labels[fields.argmax(axis=0)].astype(numpy.uint8)
        cluster = (numpy.roll(truth, 9, axis=1).astype(numpy.int64) * max(1, num_clusters // NUM_CLASSES) + random.integers(3)) % num_clusters
        redrawn = random.random(truth.shape) < noise
        numbers = numpy.where(redrawn, random.integers(num_clusters, size=truth.shape), cluster)
        predicted.append(numbers.astype(numpy.int16 if num_clusters > 255 else numpy.uint8))
        truths.append(numpy.where(numpy.roll(truth, 1, axis=0) != truth, VOID, truth).astype(numpy.uint8))
    return predicted, truths


def streaming(maps: Maps, *, num_clusters: int) -> float:
    """mcdist's way: one pass, then everything from the counts."""
    confusion = Confusion(num_rows=num_clusters, num_classes=NUM_CLASSES)
    for predicted, truth in zip(*maps, strict=True):
        confusion.add(predicted, truth=truth)
    matching = HUNGARIAN if num_clusters <= NUM_CLASSES else MAJORITY
    matched = class_confusion(confusion.counts, class_of=assign(confusion.counts, matching=matching))
    return float(mean_iou(class_counts(matched), absent="zero"))


def scikit_learn(maps: Maps, *, num_clusters: int) -> float:
    """scikit-learn's confusion matrix of all pixels, then as mcdist."""
    from sklearn.metrics import confusion_matrix

    predicted, truth = _flat(maps)
    counts = confusion_matrix(truth, predicted, labels=range(max(num_clusters, NUM_CLASSES))).T[:num_clusters, :NUM_CLASSES]
    matching = HUNGARIAN if num_clusters <= NUM_CLASSES else MAJORITY
    return float(mean_iou(class_counts(class_confusion(counts, class_of=assign(counts, matching=matching))), absent="zero"))


def pairwise(maps: Maps, *, num_clusters: int) -> float:
    """A pass over all pixels for each pair of cluster and class, then one for each class: the way of most evaluation code of the field."""
    predicted, truth = _flat(maps)
    score = numpy.zeros((num_clusters, NUM_CLASSES))
    for cluster in range(num_clusters):
        for label in range(NUM_CLASSES):
            inside, shown = predicted == cluster, truth == label
            right = int((inside & shown).sum())
            score[cluster, label] = right / max(1, int((inside | shown).sum())) if num_clusters <= NUM_CLASSES else right
    class_of = numpy.zeros(num_clusters, dtype=numpy.int64)
    if num_clusters <= NUM_CLASSES:
        rows, columns = linear_sum_assignment(score, maximize=True)
        class_of[rows] = columns
    else:
        class_of = score.argmax(axis=1)
    given = class_of[predicted]
    iou = [int(((given == label) & (truth == label)).sum()) / max(1, int(((given == label) | (truth == label)).sum())) for label in range(NUM_CLASSES)]
    return float(numpy.mean(iou))


def _flat(maps: Maps) -> tuple[numpy.ndarray, numpy.ndarray]:
    predicted, truth = (numpy.concatenate([one.ravel() for one in part]) for part in maps)
    return predicted[truth != VOID], truth[truth != VOID]


def rows_of(ways: Mapping[str, tuple[Callable[[], float], int]], *, shape: str) -> list[Measurement]:
    """The time of each way; McdistError where one gives another mIoU than the first."""
    scores = {name: action() for name, (action, _) in ways.items()}
    expected = next(iter(scores.values()))
    if others := {name: score for name, score in scores.items() if abs(score - expected) > 1e-12}:
        raise McdistError(f"mIoU is {expected!r}, but {others}; not timed: mend it first (tests/evaluate/test_exactness.py)")
    row = partial(measurement, benchmark="matching", mode="matching + mIoU", shape=shape, device=torch.device("cpu"))
    cpu = torch.device("cpu")
    return [row(times_ms(action, device=cpu, num_runs=num, num_warmups=0), provider=name, metric="time", unit="ms") for name, (action, num) in ways.items()]


def ratios(rows: Sequence[Measurement]) -> str:
    """How many times the first way's time the others take."""
    first = rows[0].median
    return "; ".join(f"{row.provider}: {row.median / first:,.0f} x" for row in rows[1:])


def main(
    photos: Annotated[int, typer.Option(min=1, help="Photos of 500 x 375 pixels.")] = 100,
    clusters: Annotated[int, typer.Option(min=1, max=2000, help="Clusters; more than 21 are matched many to one.")] = 21,
    noise: Annotated[float, typer.Option(min=0, max=1, help="Share of predicted pixels that are drawn at random.")] = 0.0,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Time of matching and mIoU, by one streaming matrix, by scikit-learn's and by pairwise passes."""
    maps = make_maps(num_photos=photos, num_clusters=clusters, noise=noise)
    ways = {
        "mcdist": (partial(streaming, maps, num_clusters=clusters), 9),
        "scikit-learn": (partial(scikit_learn, maps, num_clusters=clusters), 1),
        "pairwise passes": (partial(pairwise, maps, num_clusters=clusters), 1),
    }
    rows = rows_of(ways, shape=f"{photos} photos of {WIDTH} x {HEIGHT}, {clusters} clusters, {NUM_CLASSES} classes, noise {noise:g}")
    publish(rows, json_path=json)
    typer.echo(f"beside mcdist {ratios(rows)}")


QUICK = ("--photos", "5")

if __name__ == "__main__":
    run(main, quick=QUICK)

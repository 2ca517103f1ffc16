"""Photos for patch protocols: vertical bands of colour whose borders are those of patches, so that bilinear upsampling of a perfect answer is perfect."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import torch

from mcdist.data.shards.sample import Sample
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.settings import ExtractSettings
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.records import Row
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import EXTRACT, JUDGE, make_store

PALETTE = {0: (120, 120, 120), 1: (230, 20, 20), 2: (20, 230, 20), 3: (20, 20, 230)}
CLASSES = {"background": [0], "red": [1], "green": [2], "blue": [3]}
PATCHES = replace(EXTRACT, patches=True, label_maps=True)


def band_sample(index: int, *, labels: Sequence[int] | None = None, noise: int = 0, truth: Sequence[int] | None = None, size: int = 64) -> Sample:
    """Four bands, each of a class of its own at random, or `labels`; `truth` are the ids of the ground truth where they are others. `noise`: of the colour of
    each patch, in steps of 1 / 255."""
    random = numpy.random.default_rng(index)
    ids = numpy.array(random.integers(0, 4, size=4) if labels is None else labels)
    columns = numpy.arange(size) * len(ids) // size
    photo = numpy.array([PALETTE[int(one)] for one in ids])[columns].T[:, None].repeat(size, axis=1).astype(numpy.int64)
    photo = (photo + random.integers(-noise, noise + 1, size=(3, size // 8, size // 8)).repeat(8, axis=1).repeat(8, axis=2)).clip(0, 255)
    segments = numpy.array(ids if truth is None else truth)[columns][None].repeat(size, axis=0)
    instances = numpy.zeros((size, size), dtype=numpy.int16)
    instances[:, : size // 2] = 1
    return Sample(
        key=f"bands_{index}",
        photo=torch.from_numpy(photo.astype(numpy.uint8)),
        instances=torch.from_numpy(instances),
        segments=torch.from_numpy(segments.astype(numpy.uint8)),
    )


def view_of(store: FeatureStore, *, train: FeatureStore | None = None, classes: dict[str, list[int]] | None = None) -> StoreView:
    """A store with its ground truth, and another one to fit on."""
    labels = label_map(classes or CLASSES)
    fitted = None if train is None else StoreView(train, dataset="others", truth=read_truth(train, labels=labels, dataset="others"))
    return StoreView(store, dataset="bands", truth=read_truth(store, labels=labels, dataset="bands"), train=fitted)


def make_view(
    folder: Path,
    *,
    judged: Sequence[Sample],
    fitted: Sequence[Sample] | None = None,
    settings: ExtractSettings = PATCHES,
    classes: dict[str, list[int]] | None = None,
) -> StoreView:
    """Both stores in `folder`."""
    store = make_store(folder / "judged", samples=judged, settings=settings)
    return view_of(store, train=None if fitted is None else make_store(folder / "fitted", samples=fitted, settings=settings), classes=classes)


def row_of(view: StoreView, *, protocol: str, encoder: str = "trained backbone", metric: str = "mIoU") -> Row:
    """A protocol's row of one encoder. The trained backbone sees colours; the trained head sees them about their mean; the initial head is blind."""
    rows = make_protocols([protocol], settings=JUDGE)[0].judge(view)
    return next(row for row in rows if row.subject.encoder == encoder and row.metric == metric)

"""Fake encoders and photos of the evaluation's tests: a class is a colour, so an encoder that looks at colours knows everything."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from mcdist.data.shards.sample import Sample
from mcdist.evaluate.draw import even_places, make_panel
from mcdist.evaluate.extract.encoders import EncoderPair
from mcdist.evaluate.extract.extract import extract, finish
from mcdist.evaluate.extract.layout import aliases
from mcdist.evaluate.extract.masks import logit_min_of
from mcdist.evaluate.extract.photos import Photos
from mcdist.evaluate.judge import Judgement, judge
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols.registry import WITH_TRUTH, WITHOUT_TRUTH, make_protocols
from mcdist.evaluate.settings import ExtractSettings, JudgeSettings
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.records import Panel
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD, Embedded

COLOURS = {1: (230, 20, 20), 2: (20, 230, 20), 3: (20, 20, 230)}
CLASSES = {"background": [0], "red": [1], "green": [2], "blue": [3]}
EXTRACT = ExtractSettings(size_px=64, batch=5, objects="photo", component_area_min=0.01)
JUDGE = JudgeSettings(pca_dim=2, mean_embedding_pca_dim=0, num_clusters=(0,), num_seeds=2)


class ColourEncoder(nn.Module):
    """Backbone: mean colour of each 8 x 8 block in 0..1. Head: colour about its mean; saliency: how far a block is from grey."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, *, device: torch.device | str = "cpu", blind: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1))
        self.blind = blind

    def backbone(self, image: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(image * self.std + self.mean, 8)

    def head(self, features: torch.Tensor) -> Embedded:
        saliency = 20 * (features.amax(1, keepdim=True) - features.amin(1, keepdim=True)) - 6
        embedding = features - features.mean(1, keepdim=True)
        return Embedded(features=torch.ones_like(embedding) if self.blind else embedding, saliency=saliency)

    def before_embedding(self, features: torch.Tensor) -> torch.Tensor:
        return features


class GroupEncoder(ColourEncoder):
    """With a group head of two sets: of three groups, one a colour, whose margin over background is `how far from grey`; and of one group for all."""

    num_groups = (3, 1)

    def head(self, features: torch.Tensor) -> Embedded:
        embedded = super().head(features)
        far = 20 * (features.amax(1, keepdim=True) - features.amin(1, keepdim=True)) - 6
        of_three = far + 40 * (features - features.amax(1, keepdim=True))
        groups = torch.cat([torch.zeros_like(far), of_three, torch.zeros_like(far), far], dim=1)
        return Embedded(features=embedded.features, saliency=embedded.saliency, groups=groups)


def make_sample(index: int, *, height: int = 48, width: int = 64, with_segments: bool = True) -> Sample:
    """A grey photo with one coloured rectangle; void along its left edge; proposals are the rectangle, a pixel too wide."""
    random = numpy.random.default_rng(index)
    label = 1 + index % 3
    top, left = int(random.integers(4, 16)), int(random.integers(4, 24))
    photo = random.integers(100, 140, size=(1, height, width)).repeat(3, axis=0)
    segments = numpy.zeros((height, width), dtype=numpy.uint8)
    inside = (slice(top, top + 24), slice(left, left + 32))
    photo[:, *inside] = numpy.array(COLOURS[label]).reshape(3, 1, 1) + random.integers(-15, 15, size=(3, 24, 32))
    segments[inside] = label
    segments[inside[0], left - 1] = 255
    instances = numpy.zeros((height, width), dtype=numpy.int16)
    instances[top : top + 24, left - 1 : left + 32] = 1
    return Sample(
        key=f"photo_{index}",
        photo=torch.from_numpy(photo.clip(0, 255).astype(numpy.uint8)),
        instances=torch.from_numpy(instances),
        segments=torch.from_numpy(segments) if with_segments else None,
    )


def segments_of(sample: Sample) -> numpy.ndarray:
    """The ground truth of a sample that has one."""
    assert sample.segments is not None
    return sample.segments.numpy()


def encoder_pair(*, trained: nn.Module | None = None, initial: nn.Module | None = None) -> EncoderPair:
    """Colours before and after: the initial encoder is blind."""
    return EncoderPair(
        trained=trained or ColourEncoder(),
        initial=initial or ColourEncoder(blind=True),
        step=7,
        device=torch.device("cpu"),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        num_groups=getattr(trained, "num_groups", ()),
    )


def make_writer(folder: Path, *, num_photos: int, settings: ExtractSettings = EXTRACT, encoders: EncoderPair | None = None, chunk: int = 5) -> StoreWriter:
    """A store of `num_photos` photos, begun."""
    plan = StorePlan(
        checkpoint={"trained": "a" * 64},
        data={"num_photos": num_photos, "with_truth": settings.with_truth},
        settings={**asdict(settings), "saliency_logit_min": logit_min_of(settings.predicted_by)},
        num_photos=num_photos,
        chunk=chunk,
        aliases=aliases(encoders, settings=settings) if encoders is not None else (),
        about={"device": "cpu"},
    )
    return StoreWriter(folder, plan=begin_store(folder, plan=plan))


def make_store(folder: Path, *, samples: Sequence[Sample], settings: ExtractSettings = EXTRACT, encoders: EncoderPair | None = None) -> FeatureStore:
    """A complete store, by one process."""
    encoders = encoders or encoder_pair()
    writer = make_writer(folder, num_photos=len(samples), settings=settings, encoders=encoders)
    extract(Photos(read=samples.__getitem__, num_photos=len(samples)), writer=writer, encoders=encoders, settings=settings)
    return finish(writer, encoders=encoders, settings=settings)


def judge_store(
    store: FeatureStore,
    *,
    classes: dict[str, list[int]] | None,
    protocols: Sequence[str] = (),
    has_background: bool = True,
    train: FeatureStore | None = None,
    train_classes: dict[str, list[int]] | None = None,
    **changes,
) -> tuple[Judgement, StoreView]:
    """Judge a store; `classes` None: no ground truth. `train`: what probes are fitted on, with `classes` unless it has others. `changes` are of JUDGE."""
    labels = None if classes is None else label_map(classes, has_background=has_background)
    truth = None if labels is None else read_truth(store, labels=labels, dataset="colours")
    view = StoreView(store, dataset="colours", truth=truth)
    if train is not None and labels is not None:
        train_labels = labels if train_classes is None else label_map(train_classes, has_background=has_background).matched_to(labels)
        view = replace(view, train=StoreView(train, dataset="other colours", truth=read_truth(train, labels=train_labels, dataset="other colours")))
    names = protocols or (WITHOUT_TRUTH if classes is None else WITH_TRUTH)
    chosen = make_protocols(names, settings=replace(JUDGE, **changes))
    return judge(view, protocols=chosen, step=7, num_photos_in_dataset=12), view


def panels_of(judged: Judgement, view: StoreView, *, samples: Sequence[Sample], num: int = 3) -> list[Panel]:
    """As `mcdist evaluate` makes them."""
    assert judged.painting is not None
    return [make_panel(samples[place], photo=place, store=view, painting=judged.painting) for place in even_places(len(samples), num_wanted=num)]

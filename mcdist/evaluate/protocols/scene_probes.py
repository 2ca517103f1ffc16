"""SceneProbes: a cluster probe and a linear probe on frozen feature maps, trained together. The protocol of the STEGO family on whole scenes.

Hamilton et al., ICLR 2022 (arXiv:2203.08414); HP, EAGLE and CAUSE follow it. On the 27 classes of COCO-Stuff or Cityscapes it is what these papers call
COCO-Stuff-27 and Cityscapes-27: the classes come from the data's description. /published takes the slip that the best of several moments of training is
chosen by the judged photos' own labels; /clean takes the last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy
import torch
from jaxtyping import Float32, UInt8

from mcdist.evaluate.metrics.assign import HUNGARIAN_PIXELS, assign
from mcdist.evaluate.probes.centroid_probe import CentroidProbe, Centroids
from mcdist.evaluate.probes.linear_probe import Batch, LinearProbe, Schedule, batches_of
from mcdist.evaluate.probes.logistic import LinearClassifier
from mcdist.evaluate.probes.upsampled import pixel_classes
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import PixelCounts, counts_of, matched_counts
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView

PUBLISHED_PX, LABEL_PX = 320, 100
CLUSTER, LINEAR, WITH_FLIP = "cluster mIoU", "linear mIoU", " with flip"


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneProbesSwitches(TenSwitches):
    """`num_rounds`: moments of training at which the probes could be taken, `round_steps` steps of Adam each. `label_px`: side of logits and labels in the
    linear probe's loss, None for that of the photos. `own_size`: compare at the photo's own size, else at that of the embedded photos."""

    num_rounds: int = 10
    round_steps: int = 100
    batch: int = 16
    lr: float = 5e-3
    label_px: int | None = LABEL_PX
    own_size: bool = True
    best_round: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Probes:
    """Both probes at one moment."""

    centroids: Centroids
    classifier: LinearClassifier


@dataclass(frozen=True, slots=True)
class SceneProbes(PatchProtocol):
    """mIoU of both probes, on the photo alone and on the average of its features with those of the mirrored photo."""

    switches: SceneProbesSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "mirrored patches", "truth", "label maps", "train labels"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """Details: after how many steps the probes were taken, and the cluster probe's mIoU at every moment it could have been."""
        train, source = patch_pieces(store.known_train, encoder=encoder), patch_pieces(store, encoder=encoder).shared(store)
        num_classes = len(source.maps.names)
        best, steps, miou_percent = None, 0, []
        for place, probes in enumerate(self._trained(train, num_classes=num_classes)):
            if not self.switches.best_round and place + 1 < self.switches.num_rounds:
                continue
            counts = self._cluster_counts(source, probes, num_classes=num_classes)
            miou_percent.append(counts.miou_percent(absent=self.switches.absent_classes))
            if best is None or miou_percent[-1] > max(miou_percent[:-1]):
                best, steps = (probes, counts), (place + 1) * self.switches.round_steps
        assert best is not None, "there is at least one round"
        facts = {"steps": steps, "miou_percent_of_rounds": miou_percent if self.switches.best_round else [], "num_photos_fitted": len(train.photos)}
        clusters = {**facts, "num_clusters": num_classes, "matching": HUNGARIAN_PIXELS}
        averaged = source.averaged(store, encoder=encoder)
        return [
            Judged([best[1]], clusters, CLUSTER),
            Judged([self._cluster_counts(averaged, best[0], num_classes=num_classes)], clusters, CLUSTER + WITH_FLIP),
            Judged([self._linear_counts(source, best[0], num_classes=num_classes)], facts, LINEAR),
            Judged([self._linear_counts(averaged, best[0], num_classes=num_classes)], facts, LINEAR + WITH_FLIP),
        ]

    def _trained(self, train: PatchPieces, *, num_classes: int) -> Iterator[Probes]:
        """The probes after each round."""
        schedule = Schedule(optimizer="adam", lr=self.switches.lr, num_epochs=self.switches.num_rounds, batch=self.switches.batch)
        linear = LinearProbe(num_dims=train.num_dims, num_classes=num_classes, schedule=schedule, seed=self.switches.seed)
        centroids = CentroidProbe(num_dims=train.num_dims, num_clusters=num_classes, lr=self.switches.lr, seed=self.switches.seed)
        batches = self._batches(train)
        for _ in range(self.switches.num_rounds):
            for _ in range(self.switches.round_steps):
                batch = next(batches)
                linear.step(batch)
                centroids.step(batch[0].flatten(0, 2))
            yield Probes(centroids.centroids, linear.classifier)

    def _batches(self, train: PatchPieces) -> Iterator[Batch]:
        """Without an end: epoch after epoch."""
        size_px, epoch = self.switches.label_px or train.size_px, 0
        while True:
            for photos in batches_of(len(train.photos), batch=self.switches.batch, epoch=epoch, seed=self.switches.seed):
                piece = train.take(train.photos[photos])
                yield torch.from_numpy(piece.features), torch.from_numpy(train.maps.squares(piece.photos.tolist(), size_px=size_px))
            epoch += 1

    def _cluster_counts(self, source: PatchPieces, probes: Probes, *, num_classes: int) -> PixelCounts:
        maps = partial(self._maps, source, probes.centroids)
        match = partial(assign, matching=HUNGARIAN_PIXELS)
        return matched_counts(maps, num_photos=len(source.maps), num_classes=num_classes, num_clusters=num_classes, match=match, world=source.world)[0]

    def _linear_counts(self, source: PatchPieces, probes: Probes, *, num_classes: int) -> PixelCounts:
        maps = partial(self._maps, source, probes.classifier)
        return counts_of(maps, num_photos=len(source.maps), num_classes=num_classes, world=source.world)

    def _maps(self, source: PatchPieces, probe: Centroids | LinearClassifier) -> Iterator[tuple[int, UInt8[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]:
        for piece in source.pieces():
            logits: Float32[numpy.ndarray, "N C"] = probe.logits(torch.from_numpy(piece.vectors)).numpy()
            for photo, own in zip(piece.photos.tolist(), logits.reshape(len(piece.photos), *source.grid, -1), strict=True):
                truth = source.maps.own_size(photo) if self.switches.own_size else source.maps.squares([photo], size_px=source.size_px)[0]
                yield photo, pixel_classes(own, size_px=(truth.shape[0], truth.shape[1])), truth


def _make(settings: JudgeSettings, *, published: bool) -> SceneProbes:
    switches = SceneProbesSwitches(
        resize=(
            f"photo to short side {PUBLISHED_PX} (nearest, a slip), centre {PUBLISHED_PX} x {PUBLISHED_PX} (a slip on wide photos); truth nearest"
            if published
            else "photo evaluate.size_px squared, bilinear"
        ),
        scored_at=f"{PUBLISHED_PX} x {PUBLISHED_PX}" if published else "the photo's own size, logits bilinear",
        fitted_on="--train-shards",
        subsampling="all patches, in random batches",
        scaling="none; cosine for clusters",
        num_clusters="classes",
        matching="clusters: hungarian on pixels; linear: none",
        absent_classes="left out",
        flip_and_crf="without, and averaged with the mirrored photo, apart; no CRF",
        label_choice="the round with the best cluster mIoU (a slip)" if published else NO_LABEL_CHOICE,
        label_px=None if published else LABEL_PX,
        own_size=not published,
        best_round=published,
    )
    if not published:
        return SceneProbes("scene-probes/clean", switches)
    return SceneProbes("scene-probes/published", switches, terms=PhotoTerms(input="stego", size_px=PUBLISHED_PX))


def scene_probes_published(settings: JudgeSettings) -> SceneProbes:
    """Cluster probe and linear probe of the STEGO family, as their code: centre crop of 320, the best moment by the judged labels."""
    return _make(settings, published=True)


def scene_probes_clean(settings: JudgeSettings) -> SceneProbes:
    """Cluster probe and linear probe of the STEGO family on whole photos, the last moment, compared at the photos' own size."""
    return _make(settings, published=False)

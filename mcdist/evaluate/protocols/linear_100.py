"""Linear100: a 1 x 1 convolution on frozen feature maps, trained on labelled photos at 100 x 100. The linear probe of Leopart and NeCo.

/published keeps the slip that the best of 25 epochs is chosen by the judged photos' own labels; /clean takes the last one, and compares at the photo's own
size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy
import torch
from jaxtyping import UInt8

from mcdist.evaluate.probes.linear_probe import Batch, Schedule, batches_of, train_linear
from mcdist.evaluate.probes.logistic import LinearClassifier
from mcdist.evaluate.probes.upsampled import pixel_classes
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import counts_of
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView

PUBLISHED_PX, LABEL_PX = 448, 100
SCHEDULE = Schedule(optimizer="sgd", lr=0.01, num_epochs=25, batch=60, momentum=0.9, weight_decay=1e-4, drops=(20,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear100Switches(TenSwitches):
    """`schedule`: SGD's. `label_px`: side of logits and labels in the loss. `truth_px`: side of the maps that are compared, None for the photo's own."""

    schedule: Schedule = SCHEDULE
    label_px: int = LABEL_PX
    truth_px: int | None = None
    best_epoch: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Linear100(PatchProtocol):
    """mIoU of a linear classifier of patches."""

    switches: Linear100Switches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps", "train labels"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """Details: the epoch that counts, and with `best_epoch` the mIoU of every one."""
        train, source = patch_pieces(store.known_train, encoder=encoder), patch_pieces(store, encoder=encoder).shared(store)
        num_classes = len(source.maps.names)
        best, best_epoch, miou_percent = None, 0, []
        classifiers = train_linear(
            partial(self._batches, train), num_dims=train.num_dims, num_classes=num_classes, schedule=self.switches.schedule, seed=self.switches.seed
        )
        for epoch, classifier in enumerate(classifiers):
            if not self.switches.best_epoch and epoch + 1 < self.switches.schedule.num_epochs:
                continue
            maps = partial(linear_maps, source, classifier, truth_px=self.switches.truth_px)
            counts = counts_of(maps, num_photos=len(source.maps), num_classes=num_classes, world=store.world)
            miou_percent.append(counts.miou_percent(absent=self.switches.absent_classes))
            if best is None or miou_percent[-1] > max(miou_percent[:-1]):
                best, best_epoch = counts, epoch + 1
        assert best is not None, "a schedule has at least one epoch"
        facts = {"epoch": best_epoch, "miou_percent_of_epochs": miou_percent if self.switches.best_epoch else [], "num_photos_fitted": len(train.photos)}
        return [Judged([best], facts)]

    def _batches(self, train: PatchPieces, epoch: int) -> Iterator[Batch]:
        """Of a store with several augmented passes over the photos each epoch takes the next one."""
        passes = train.passes
        own = passes[epoch % len(passes)]
        for photos in batches_of(len(own), batch=self.switches.schedule.batch, epoch=epoch, seed=self.switches.seed):
            chosen = own[photos]
            labels = train.maps.squares(chosen.tolist(), size_px=self.switches.label_px)
            yield torch.from_numpy(train.take(chosen).features), torch.from_numpy(labels)


def linear_maps(
    source: PatchPieces, classifier: LinearClassifier, *, truth_px: int | None
) -> Iterator[tuple[int, UInt8[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]:
    """(photo, the largest upsampled logit of every pixel, true classes), at `truth_px` squared or at the photo's own size."""
    for piece in source.pieces():
        logits = classifier.logits(torch.from_numpy(piece.vectors)).numpy().reshape(len(piece.photos), *source.grid, -1)
        for place, photo in enumerate(piece.photos.tolist()):
            truth = source.maps.own_size(photo) if truth_px is None else source.maps.squares([photo], size_px=truth_px)[0]
            yield photo, pixel_classes(logits[place], size_px=(truth.shape[0], truth.shape[1])), truth


def linear_100_published(settings: JudgeSettings) -> Linear100:
    """A linear classifier of patches by SGD, as Leopart's code: crops, 100 x 100, the best epoch by the judged labels."""
    switches = Linear100Switches(
        resize=f"photo {PUBLISHED_PX} x {PUBLISHED_PX}, bilinear; photos to fit on: random crops of .8 to 1 of the area, mirrored at random",
        scored_at=f"logits bilinear and truth nearest to {LABEL_PX} x {LABEL_PX}",
        fitted_on="--train-shards, another crop in each epoch",
        subsampling="all patches",
        scaling="none",
        num_clusters="none",
        matching="none: predictions are classes",
        absent_classes="zero",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice="the best of all epochs (a slip)",
        truth_px=LABEL_PX,
        best_epoch=True,
    )
    return Linear100("linear-100/published", switches, terms=PhotoTerms(input="leopart", size_px=PUBLISHED_PX))


def linear_100_clean(settings: JudgeSettings) -> Linear100:
    """A linear classifier of patches by SGD on whole photos, the last epoch, compared at the photos' own size."""
    switches = Linear100Switches(
        resize="photo evaluate.size_px squared, bilinear; photos to fit on alike, not cropped",
        scored_at="the photo's own size, logits bilinear",
        fitted_on=f"--train-shards, labels nearest to {LABEL_PX} x {LABEL_PX}",
        subsampling="all patches",
        scaling="none",
        num_clusters="none",
        matching="none: predictions are classes",
        absent_classes="left out",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice=NO_LABEL_CHOICE,
    )
    return Linear100("linear-100/clean", switches)

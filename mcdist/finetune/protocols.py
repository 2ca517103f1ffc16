"""The protocols of `mcdist finetune`: what each trains, and its ten switches. They differ from those of `mcdist evaluate` by a network in the loop."""

from collections.abc import Callable
from dataclasses import dataclass

from mcdist.evaluate.metrics.confusion import Absent
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.finetune.settings import TuneSettings
from mcdist.records.names import FINETUNE_FRACTION, LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED

ABSENT: Absent = "left out"
BEST_EPOCH = "the epoch with the best mIoU on the judged photos (a slip)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSwitches(TenSwitches):
    """The ten, and how the network is trained. `departs_from_published`: settings with another value than the published one, which is in brackets."""

    trained: str
    augmentation: str
    loss: str
    optimizer: str
    schedule: str
    departs_from_published: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneProtocol:
    """`summary` and `notes` are what `mcdist protocols` prints; `switches` says them for any settings."""

    name: str
    summary: str
    notes: tuple[str, ...]
    switches: Callable[[TuneSettings], FinetuneSwitches]


def fraction_name(percent: float) -> str:
    """The protocol of the rows of one fraction: `finetune-fraction-12.5`."""
    return f"{FINETUNE_FRACTION}-{percent:g}"


def _switches(settings: TuneSettings, *, fitted_on: str, subsampling: str, trained: str, schedule: str, label_choice: str) -> FinetuneSwitches:
    size = f"{settings.size_px} x {settings.size_px}"
    return FinetuneSwitches(
        resize=f"photos to {size}, bicubic, antialiased; training labels to {size}, nearest",
        scored_at=f"the photo's own size: argmax of logits upsampled bilinearly to {size}, then the nearest pixel",
        fitted_on=fitted_on,
        subsampling=subsampling,
        scaling="none",
        num_clusters="none",
        matching="none: classes are predicted",
        absent_classes=ABSENT,
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice=label_choice,
        trained=f"{trained}; the whole network in evaluation mode (BatchNorm, dropout)",
        augmentation=(
            f"mirrored with probability {settings.flip_probability:g}, scaled by {settings.scale_min:g} to {settings.scale_max:g}, turned by up to "
            f"{settings.angle_max_deg:g} degrees, about the photo's centre and in its own proportions; photo bicubic, labels nearest; outside of the photo "
            "the mean colour, and void"
        ),
        loss=f"cross-entropy of logits upsampled bilinearly to {size}, mean over the batch's pixels that are not void",
        optimizer=f"SGD, lr {settings.lr:g}, momentum {settings.momentum:g}, weight decay {settings.weight_decay:g}; classifier starts as N(0, "
        f"{settings.initial_std:g})",
        schedule=schedule,
        departs_from_published=settings.departures,
    )


def _linear_switches(settings: TuneSettings, *, label_choice: str) -> FinetuneSwitches:
    return _switches(
        settings,
        fitted_on="all labelled photos of --train-shards",
        subsampling="none",
        trained="a 1 x 1 convolution on the features before the embedding",
        schedule=(
            f"batch {settings.batch}, the last, incomplete one dropped; {settings.num_epochs} epochs, lr x {settings.lr_drop:g} after {settings.drop_after}"
        ),
        label_choice=label_choice,
    )


def _fraction_switches(settings: TuneSettings) -> FinetuneSwitches:
    num_steps = f"{settings.num_steps}" if settings.num_steps else f"as many as {settings.num_epochs} epochs over all labelled photos have"
    return _switches(
        settings,
        fitted_on="nested subsets of the labelled photos of --train-shards, each seed its own (subsets.json)",
        subsampling="the first photos of a random order: the fraction of all, rounded half up",
        trained="all weights, and a 1 x 1 convolution on the features before the embedding",
        schedule=(
            f"batch {settings.batch}, filled across passes over the subset; {num_steps} steps, the same for each fraction; lr x {settings.lr_drop:g} after "
            f"{settings.drop_after}/{settings.num_epochs} of them"
        ),
        label_choice=NO_LABEL_CHOICE,
    )


_SOURCE = "Source: MaskContrast (arXiv:2102.06191), linear evaluation, and its released code: each photo goes through the network in every epoch."

PROTOCOLS: dict[str, FinetuneProtocol] = {
    protocol.name: protocol
    for protocol in (
        FinetuneProtocol(
            name=LINEAR_EXACT_PUBLISHED,
            summary="A 1 x 1 convolution on a frozen network, trained on augmented photos by SGD; the best epoch on the judged photos.",
            notes=(_SOURCE, "Slips: the epoch is chosen on the photos that are judged."),
            switches=lambda settings: _linear_switches(settings, label_choice=BEST_EPOCH),
        ),
        FinetuneProtocol(
            name=LINEAR_EXACT_CLEAN,
            summary="As maskcontrast-linear-exact/published, after the last epoch.",
            notes=(_SOURCE,),
            switches=lambda settings: _linear_switches(settings, label_choice=NO_LABEL_CHOICE),
        ),
        FinetuneProtocol(
            name=FINETUNE_FRACTION,
            summary="All weights trained on 1, 2, 5, 12.5 and 100 % of the labelled photos, in nested subsets.",
            notes=("Source: ours; nobody publishes code for it. Data and schedule are those of the linear evaluation.",),
            switches=_fraction_switches,
        ),
    )
}
"""By name, in the order in which they are listed."""

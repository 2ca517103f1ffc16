"""Judge: classifiers on one network's features, counted against the ground truth of whole photos at their own size."""

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from jaxtyping import Float, UInt8
from numpy import nanargmax, ndarray
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.views.normalise import normalise
from mcdist.distributed import World
from mcdist.errors import DataError
from mcdist.evaluate.extract.photos import Photos, Prepared, prepared_batches
from mcdist.evaluate.protocols.pixel_row import PixelCounts
from mcdist.finetune.network import SegmentationNetwork, classified
from mcdist.finetune.photos import INTERPOLATION
from mcdist.finetune.protocols import ABSENT
from mcdist.ranks.agree import all_together


@torch.inference_mode()
def judge_classifiers(
    network: SegmentationNetwork,
    classifiers: Sequence[Float[Tensor, "L C_and_bias"]],
    *,
    photos: Photos,
    class_of_id: UInt8[ndarray, " 256"],
    size_px: int,
    batch: int,
    num_workers: int,
    world: World,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> list[PixelCounts] | None:
    """The counts of each classifier, over all ranks, each of which sees its share of the photos once. None where a rank was asked to stop.

    Scored as the protocols say: logits upsampled bilinearly to size_px squared, argmax there, then the pixel under each centre of the photo's own pixels.

    Raises:
        DataError: a logit is not finite.
        ShardError: a damaged sample, or one without ground truth.
    """
    counts = [PixelCounts(num_photos=photos.num_photos, num_classes=len(classifiers[0])) for _ in classifiers]
    own = range(world.rank, photos.num_photos, world.num_ranks)

    def count_own() -> bool:
        """Whether it came to the end."""
        batches = [list(own[first : first + batch]) for first in range(0, len(own), batch)]
        prepared = prepared_batches(photos, batches=batches, size_px=size_px, with_truth=True, num_workers=num_workers, interpolation=INTERPOLATION)
        with closing(prepared):
            for number, (places, few) in enumerate(zip(batches, prepared, strict=True), start=1):
                if should_stop():
                    return False
                _count(network, classifiers, places=places, few=few, counts=counts, class_of_id=class_of_id, size_px=size_px, device=world.device)
                on_progress(min(number * batch, len(own)), len(own))
        return True

    if world.begin_any(not all_together(count_own, world=world))():
        return None
    for counted in counts:
        for found in (counted.confusion, counted.by_photo):
            found[...] = world.sum(torch.from_numpy(found).to(world.device)).cpu().numpy()
    return counts


def _count(
    network: SegmentationNetwork,
    classifiers: Sequence[Float[Tensor, "L C_and_bias"]],
    *,
    places: list[int],
    few: list[Prepared],
    counts: list[PixelCounts],
    class_of_id: UInt8[ndarray, " 256"],
    size_px: int,
    device: torch.device,
) -> None:
    """Add a few photos, which are at `places` of all, to the counts of each classifier."""
    backbone = network.encoder.backbone
    images = torch.stack([photo.image for photo in few]).to(device, non_blocking=True)
    features = network.features(normalise(images, mean=backbone.mean, std=backbone.std))
    for classifier, counted in zip(classifiers, counts, strict=True):
        maps = class_maps(classified(features, classifier=classifier), size_px=size_px)
        for place, photo, predicted in zip(places, few, maps, strict=True):
            assert photo.truth is not None, "prepare raises where there is no ground truth"
            height, width = photo.truth.shape
            counted.add(place, resize_nearest(predicted, height=height, width=width), truth=class_of_id[photo.truth.numpy()])


def class_maps(logits: Float[Tensor, "B L h w"], *, size_px: int) -> UInt8[ndarray, "B S S"]:
    """The largest logit of each pixel of the square; DataError where one is not finite."""
    if not bool(torch.isfinite(logits).all()):
        raise DataError("a fine-tuned network gives logits that are not finite; fine-tune with a smaller --lr into another --out")
    pixels = interpolate(logits.float(), size=(size_px, size_px), mode="bilinear", align_corners=False)
    maps: UInt8[ndarray, "B S S"] = pixels.argmax(dim=1).to(torch.uint8).cpu().numpy()
    return maps


def best_of(counts: Sequence[PixelCounts]) -> tuple[int, list[float]]:
    """(place of the best, mIoU of each in %); the first of several."""
    miou_percent = [one.miou_percent(absent=ABSENT) for one in counts]
    return int(nanargmax(miou_percent)), miou_percent

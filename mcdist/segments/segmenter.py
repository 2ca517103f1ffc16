"""Segmenter: photos through a trained encoder to segments, exactly the way that the objects of its catalogue went."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.catalogue.classes import Classes
from mcdist.catalogue.clusters import NO_CLUSTER
from mcdist.data.pictures.resize import resize_nearest
from mcdist.data.views.normalise import normalise
from mcdist.errors import CheckpointError
from mcdist.evaluate.extract.embed import mask_logits
from mcdist.evaluate.extract.masks import logit_min_of, predicted_objects
from mcdist.evaluate.extract.pool import pool_objects
from mcdist.evaluate.settings import ExtractSettings
from mcdist.model.encoder import Encoder
from mcdist.records.names import PREDICTED, TRAINED, UNIT_MEAN
from mcdist.segments.segmented import SecondChoice, Segment, SegmentedPhoto
from mcdist.segments.windows import Canvas, places


@dataclass(frozen=True, slots=True)
class Looked:
    """What the encoder sees in photos of one size, at stride: `features` and the logits that masks are predicted from, float32."""

    features: Float[Tensor, "B D h w"]
    logits: Float[Tensor, "B h w"]


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """The objects of one photo at the size that the encoder saw: their map, and the vector of object i in row i - 1."""

    objects: Int16[numpy.ndarray, "h w"]
    vectors: Float[numpy.ndarray, "M D"]


class Segmenter:
    """Holds an encoder that is ready for use, and how photos become objects."""

    def __init__(self, encoder: Encoder, *, settings: ExtractSettings, num_groups: tuple[int, ...], device: torch.device) -> None:
        """`settings` are those of the catalogue. `num_groups`: the sets of the encoder's group head; none without one."""
        self.encoder, self.settings, self.num_groups, self.device = encoder, settings, num_groups, device

    def look(self, images: UInt8[Tensor, "B 3 H W"]) -> Looked:
        """Photos of one size through the encoder."""
        backbone = self.encoder.backbone
        with torch.inference_mode():
            embedded = self.encoder(normalise(images.to(self.device), mean=backbone.mean, std=backbone.std))
            logits = mask_logits(embedded, predicted_by=self.settings.predicted_by, num_groups=self.num_groups)
            return Looked(embedded.features.float(), logits)

    def look_through_windows(self, canvas: UInt8[Tensor, "3 H W"]) -> Looked:
        """A large photo through overlapping windows of size_px, each cell the mean of the windows that show it, the more weight the nearer to their centre."""
        windows = places(canvas.shape[1], width=canvas.shape[2], side=self.settings.size_px, stride=self.encoder.backbone.stride)
        merged = Canvas(canvas.shape[1], width=canvas.shape[2], side=self.settings.size_px, stride=self.encoder.backbone.stride, device=self.device)
        for start in range(0, len(windows), self.settings.batch):
            some = windows[start : start + self.settings.batch]
            side = self.settings.size_px
            looked = self.look(torch.stack([canvas[:, top : top + side, left : left + side] for top, left in some]))
            merged.add(looked.features, logits=looked.logits, places=some)
        return Looked(*merged.mean())

    def find(self, looked: Looked, *, height: int, width: int) -> list[FoundObjects]:
        """The objects of each photo, whose image was `height` x `width`.

        Raises:
            CheckpointError: the embeddings are not finite.
        """
        with torch.inference_mode():
            logits = interpolate(looked.logits[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]
            settings = self.settings
            masks, _ = predicted_objects(logits, objects=settings.objects, area_min=settings.component_area_min, logit_min=logit_min_of(settings.predicted_by))
            pooled = pool_objects({TRAINED: looked.features}, masks={PREDICTED: masks}, saliency=logits)[PREDICTED, UNIT_MEAN, TRAINED]
        vectors = pooled.view(len(logits), masks.max_objects, -1).cpu().numpy()
        if not numpy.isfinite(vectors).all() or not bool(torch.isfinite(logits).all()):
            raise CheckpointError("the encoder's embeddings must be finite, they are not; use an earlier checkpoint")
        return [FoundObjects(objects, photo) for objects, photo in zip(masks.objects.cpu().numpy().astype(numpy.int16), vectors, strict=True)]


def at_own_size(found: FoundObjects, *, classes: Classes, height: int, width: int) -> SegmentedPhoto:
    """The segments of a photo of `height` x `width`: each pixel takes what is under its centre."""
    instances = resize_nearest(found.objects, height=height, width=width)
    num = int(instances.max(initial=0))
    areas = numpy.bincount(instances.ravel(), minlength=num + 1)
    numbers = numpy.flatnonzero(areas[1:]) + 1
    labelled = classes.assign(found.vectors[numbers - 1])
    segments = []
    for row, number in enumerate(numbers.tolist()):
        rows, columns = numpy.flatnonzero((instances == number).any(axis=1)), numpy.flatnonzero((instances == number).any(axis=0))
        second = None
        if labelled.second[row] != NO_CLUSTER:
            second = SecondChoice(
                cluster=int(labelled.second[row]),
                class_name=classes.names[int(labelled.second_class_id[row])],
                confidence=float(labelled.second_confidence[row]),
            )
        segments.append(
            Segment(
                number=number,
                cluster=int(labelled.cluster[row]),
                class_id=int(labelled.class_id[row]),
                class_name=classes.names[int(labelled.class_id[row])],
                confidence=float(labelled.confidence[row]),
                second=second,
                area_px=int(areas[number]),
                box_xywh=(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)),
                vector=found.vectors[number - 1],
            )
        )
    return SegmentedPhoto(instances=instances, segments=tuple(segments))

"""Embed: a batch of photos to the feature maps of every encoder, and what the trained encoder's other heads say."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.choices import PredictedBy
from mcdist.data.views.normalise import normalise
from mcdist.evaluate.extract.encoders import EncoderPair
from mcdist.evaluate.extract.segments import foreground_margin
from mcdist.types import Embedded


@dataclass(frozen=True, slots=True)
class EmbeddedPhotos:
    """At stride, float32: `features` by the names of `EncoderPair.names`; of the trained encoder `saliency`, the logits that masks are predicted from, and
    `groups`, those of its group head, None without one."""

    features: dict[str, Float[Tensor, "B _ _ _"]]
    saliency: Float[Tensor, "B h w"]
    groups: Float[Tensor, "B G h w"] | None


def embed(images: UInt8[Tensor, "B 3 S S"], *, encoders: EncoderPair, predicted_by: PredictedBy) -> EmbeddedPhotos:
    """Each encoder once over the photos; a backbone that both share runs once. Nothing here waits for the device."""
    inputs = normalise(images, mean=encoders.mean, std=encoders.std)
    trained: Any = encoders.trained  # attributes of a module have no static type
    initial: Any = encoders.initial
    trained_backbone = trained.backbone(inputs)
    initial_backbone = trained_backbone if encoders.shared_backbone else initial.backbone(inputs)
    embedded = trained.head(trained_backbone)
    maps = (embedded.features, trained_backbone, initial.head(initial_backbone).features, initial_backbone)
    features = {name: feature_map.float() for name, feature_map in zip(encoders.names, maps, strict=not encoders.shared_backbone)}
    groups: Any = embedded.groups.float() if encoders.num_groups else None
    saliency = mask_logits(embedded, predicted_by=predicted_by, num_groups=encoders.num_groups)
    return EmbeddedPhotos(features=features, saliency=saliency, groups=groups)


def mask_logits(embedded: Embedded, *, predicted_by: PredictedBy, num_groups: tuple[int, ...]) -> Float[Tensor, "B h w"]:
    """The logits that masks are predicted from: of the saliency head, or the group head's margin over background."""
    if predicted_by == "saliency":
        return embedded.saliency.float()[:, 0]
    assert embedded.groups is not None, "an encoder without a group head is refused before"
    return foreground_margin(embedded.groups.float(), num_groups=num_groups)


def upsampled(saliency: Float[Tensor, "B h w"], *, size_px: int) -> Float[Tensor, "B S S"]:
    """Saliency logits at the photos' size, bilinearly (align_corners=False)."""
    return interpolate(saliency[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]

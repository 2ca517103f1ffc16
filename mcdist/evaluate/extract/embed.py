"""Embed: a batch of photos to the feature maps of every encoder, and what the trained encoder's other heads say."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.choices import PredictedBy
from mcdist.data.views.normalise import normalise
from mcdist.evaluate.extract.encoders import Encoders, LoneBackbone
from mcdist.evaluate.extract.segments import foreground_margin
from mcdist.records.names import BACKBONE, INITIAL, INITIAL_BACKBONE, RANDOM_WEIGHTS, TRAINED, TRAINED_BACKBONE
from mcdist.types import Embedded


@dataclass(frozen=True, slots=True)
class EmbeddedPhotos:
    """At stride, float32: `features` by the names of the encoders; of the trained encoder `saliency`, the logits that masks are predicted from, and `groups`,
    those of its group head, None without one, and `decoded`, what its embedding is linear in, None unless asked for. A lone backbone has features only."""

    features: dict[str, Float[Tensor, "B _ _ _"]]
    saliency: Float[Tensor, "B h w"] | None
    groups: Float[Tensor, "B G h w"] | None
    decoded: Float[Tensor, "B C h w"] | None = None


def embed(images: UInt8[Tensor, "B 3 S S"], *, encoders: Encoders, predicted_by: PredictedBy, decoded: bool = False) -> EmbeddedPhotos:
    """Each encoder once over the photos; a backbone that both share runs once. Nothing here waits for the device."""
    inputs = normalise(images, mean=encoders.mean, std=encoders.std)
    if isinstance(encoders, LoneBackbone):
        return EmbeddedPhotos(features={BACKBONE: encoders.backbone(inputs).float()}, saliency=None, groups=None)
    trained: Any = encoders.trained  # attributes of a module have no static type
    initial: Any = encoders.initial
    trained_backbone = trained.backbone(inputs)
    initial_backbone = trained_backbone if encoders.shared_backbone else initial.backbone(inputs)
    embedded = trained.head(trained_backbone)
    maps = {
        TRAINED: embedded.features,
        TRAINED_BACKBONE: trained_backbone,
        INITIAL: initial.head(initial_backbone).features,
        INITIAL_BACKBONE: initial_backbone,
    }
    if encoders.random_backbone is not None:
        maps[RANDOM_WEIGHTS] = encoders.random_backbone(inputs)
    features = {name: maps[name].float() for name in encoders.names}
    groups: Any = embedded.groups.float() if encoders.num_groups else None
    saliency = mask_logits(embedded, predicted_by=predicted_by, num_groups=encoders.num_groups)
    return EmbeddedPhotos(features=features, saliency=saliency, groups=groups, decoded=trained.before_embedding(trained_backbone).float() if decoded else None)


def mask_logits(embedded: Embedded, *, predicted_by: PredictedBy, num_groups: tuple[int, ...]) -> Float[Tensor, "B h w"]:
    """The logits that masks are predicted from: of the saliency head, or the group head's margin over background."""
    if predicted_by == "saliency":
        return embedded.saliency.float()[:, 0]
    assert embedded.groups is not None, "an encoder without a group head is refused before"
    return foreground_margin(embedded.groups.float(), num_groups=num_groups)


def upsampled(saliency: Float[Tensor, "B h w"], *, size_px: int) -> Float[Tensor, "B S S"]:
    """Saliency logits at the photos' size, bilinearly (align_corners=False)."""
    return interpolate(saliency[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]

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
from mcdist.records.names import BACKBONE


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
    maps = (embedded.features, trained_backbone, initial.head(initial_backbone).features, initial_backbone)
    features = {name: feature_map.float() for name, feature_map in zip(encoders.names, maps, strict=not encoders.shared_backbone)}
    groups: Any = embedded.groups.float() if encoders.num_groups else None
    saliency = embedded.saliency.float()[:, 0] if predicted_by == "saliency" else foreground_margin(groups, num_groups=encoders.num_groups)
    return EmbeddedPhotos(features=features, saliency=saliency, groups=groups, decoded=trained.before_embedding(trained_backbone).float() if decoded else None)


def upsampled(saliency: Float[Tensor, "B h w"], *, size_px: int) -> Float[Tensor, "B S S"]:
    """Saliency logits at the photos' size, bilinearly (align_corners=False)."""
    return interpolate(saliency[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]

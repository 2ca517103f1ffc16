"""Inputs: what is done to photos before an encoder sees them, by the name of the published protocol that does it.

A feature store holds photos under one input. `plain` is mcdist's own: the whole photo, squared, and photos to fit on are treated like those that are judged.
The others do what the released code of a protocol does, so that its number can be made; each is described by the protocol that asks for it.
"""

from dataclasses import dataclass
from typing import Literal

from mcdist.choices import PhotoInput
from mcdist.types import Rgb

Interpolation = Literal["bilinear", "bicubic", "nearest-exact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How each pass over the photos to fit on changes them: a crop of a share of the area, mirrored or not, and changes of brightness, contrast, saturation
    and hue of strength `jitter`, each with `jitter_probability`."""

    num_passes: int
    crop_scale_min: float
    flip_probability: float = 0.0
    jitter: float = 0.0
    jitter_probability: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """`centre_crop`: the largest centred square instead of the whole photo. `std`: the standard deviations of pixels, None for those of the backbone."""

    interpolation: Interpolation = "bilinear"
    centre_crop: bool = False
    std: Rgb | None = None
    augmentation: Augmentation | None = None

    @property
    def num_passes(self) -> int:
        """Over the photos to fit on."""
        return 1 if self.augmentation is None else self.augmentation.num_passes


PLAIN: PhotoInput = "plain"
INPUTS: dict[PhotoInput, Input] = {
    PLAIN: Input(),
    "leopart": Input(augmentation=Augmentation(num_passes=25, crop_scale_min=0.8, flip_probability=0.5)),
    "hummingbird": Input(
        std=(0.229, 0.224, 0.255),  # as the released code has it: ImageNet's third value is .225
        augmentation=Augmentation(num_passes=2, crop_scale_min=0.5, jitter=0.1, jitter_probability=0.5),
    ),
    "capi": Input(interpolation="bicubic"),
    "stego": Input(interpolation="nearest-exact", centre_crop=True),
}

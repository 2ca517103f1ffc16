"""Settings of label propagation: every choice that changes the result, as published."""

from dataclasses import dataclass
from typing import Literal

from mcdist.choices import did_you_mean
from mcdist.errors import ConfigError
from mcdist.records.names import DAVIS_PROPAGATION, DAVIS_PROPAGATION_DINOV3

Shape = Literal["square", "circle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationSettings:
    """How labels follow features through a video. The defaults are those of DINO (Caron et al., ICCV 2021) for DAVIS, after Jabri et al., NeurIPS 2020.

    Frames are scaled to `short_side_px`, the long side in proportion, down to a multiple of `long_multiple_px` where the stride divides it, else to the
    nearest multiple of the stride. A cell sees the cells of the context (the first frame and the last `num_last`) that are within `radius` cells of its
    own place, in a square or a circle; the `num_nearest` with the largest cosine, over all frames of the context, give it their labels, weighted by
    softmax(cosine / temperature).
    """

    short_side_px: int = 480
    long_multiple_px: int = 64
    interpolation: str = "bilinear, no antialiasing"
    num_last: int = 7
    radius: int = 12
    shape: Shape = "square"
    temperature: float = 0.1
    num_nearest: int = 5
    first_labels: str = "nearest, on the grid of the features"
    labels: str = "soft; upsampled bilinearly, stretched to 0..1 a channel, largest, nearest at the frame's size"
    score: str = "official: first and last frame left out, void ignored"


PROPAGATIONS = {
    DAVIS_PROPAGATION: PropagationSettings(),
    DAVIS_PROPAGATION_DINOV3: PropagationSettings(short_side_px=960, long_multiple_px=1, shape="circle", temperature=0.2),
}
"""By protocol. DINOv3 (arXiv:2508.10104) uses frames of twice the size, a circle and a higher temperature."""


def propagation_settings(protocol: str) -> PropagationSettings:
    """The settings of a protocol; ConfigError where it is no protocol of videos."""
    if protocol not in PROPAGATIONS:
        raise ConfigError(f"unknown protocol {protocol!r} for videos; {did_you_mean(protocol, PROPAGATIONS)}known: {', '.join(PROPAGATIONS)}")
    return PROPAGATIONS[protocol]


def frame_size(height: int, width: int, *, settings: PropagationSettings, stride: int) -> tuple[int, int]:
    """(height, width) that a frame is scaled to, both multiples of the stride."""
    short = max(stride, round(settings.short_side_px / stride) * stride)
    ratio = max(height, width) / min(height, width)
    long = settings.short_side_px * ratio
    by_multiple = settings.long_multiple_px % stride == 0
    step = settings.long_multiple_px if by_multiple else stride
    long_side = max(short, int(long // step if by_multiple else round(long / step)) * step)
    return (long_side, short) if height > width else (short, long_side)

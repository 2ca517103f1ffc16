"""Pixels: the statistics of the pixels that weights were trained on, by name."""

from mcdist.choices import PixelStatistics
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD, Rgb

STATISTICS: dict[PixelStatistics, tuple[Rgb, Rgb]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "satellite": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}
"""Name -> (mean, standard deviation) of pixels in 0..1. half: Google's ViTs and SigLIP; clip: OpenAI's photos; satellite: DINOv3's SAT-493M."""


def name_of(mean: Rgb, std: Rgb) -> str:
    """The statistics' name, or their numbers where they have none."""
    near = [name for name, pair in STATISTICS.items() if all(abs(a - b) < 2e-3 for a, b in zip((*pair[0], *pair[1]), (*mean, *std), strict=True))]
    return near[0] if near else f"mean {mean}, std {std}"

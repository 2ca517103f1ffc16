"""Saliency: what all methods that return one map of how much each pixel stands out have in common: the working copy, the threshold, the cleaning."""

from dataclasses import dataclass, field
from typing import Any

import numpy
from jaxtyping import Float, Float32
from PIL import Image

from mcdist.errors import ConfigError
from mcdist.proposals.classical.superpixels import Superpixels, lab_of, make_superpixels
from mcdist.proposals.components import objects_of, without_holes
from mcdist.proposals.proposal import Method, Pixels, Proposal, check_least

HOLE_SHARE = 0.01
"""Holes smaller than this share of the photo are filled."""


@dataclass
class View:
    """A photo's working copy, and what was computed of it so far, so that several methods on one photo share it."""

    photo: Pixels
    lab: Float32[numpy.ndarray, "h w 3"] = field(init=False)
    _superpixels: dict[int, Superpixels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lab = lab_of(self.photo)

    def superpixels(self, num: int) -> Superpixels:
        """About `num` superpixels, made once."""
        if num not in self._superpixels:
            self._superpixels[num] = make_superpixels(self.lab, num=num)
        return self._superpixels[num]


class SaliencyMethod(Method):
    """A method with `saliency(view)`. Its parameters hold `side_px`, `threshold` and `split`."""

    def __post_init__(self) -> None:
        check_threshold(self.parameters["threshold"], method=self.name)
        check_least(self.parameters, method=self.name)

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """How much each pixel of the working copy stands out, 0..1."""
        raise NotImplementedError

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """Saliency of the working copy, brought to the photo's size, cut and cleaned."""
        found = self.saliency(View(shrunk(photo, side_px=self.parameters["side_px"])))
        return proposal_of(enlarged(found, height=photo.shape[0], width=photo.shape[1]), parameters=self.parameters)


def proposal_of(saliency: Float32[numpy.ndarray, "H W"], *, parameters: dict[str, Any]) -> Proposal:
    """Cut at the threshold, fill small holes, drop small parts; with `split` each part is an object."""
    foreground = without_holes(saliency > cut_of(saliency, threshold=parameters["threshold"]), share=HOLE_SHARE)
    return Proposal(objects_of(foreground, split=parameters["split"]), confidence=saliency)


def check_threshold(threshold: str, *, method: str) -> None:
    """Raises ConfigError for what `cut_of` does not know."""
    if threshold in ("adaptive", "otsu"):
        return
    try:
        fits = 0 <= float(threshold) < 1
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(f"{method}: threshold must be adaptive, otsu or a number in 0..1, got {threshold!r}")


def cut_of(saliency: Float[numpy.ndarray, "H W"], *, threshold: str) -> float:
    """The value above which a pixel is foreground: twice the mean but at most 0.9 (adaptive; Achanta et al. 2009), Otsu's, or the number."""
    if threshold == "adaptive":
        return min(2 * float(saliency.mean()), 0.9)
    if threshold == "otsu":
        return otsu(saliency)
    return float(threshold)


def otsu(values: Float[numpy.ndarray, "*S"]) -> float:
    """The cut with the largest variance between its two sides, of values in 0..1 (Otsu 1979)."""
    counts, edges = numpy.histogram(values, bins=128, range=(0, 1))
    middles = (edges[1:] + edges[:-1]) / 2
    below = numpy.cumsum(counts)
    above = below[-1] - below
    sum_below = numpy.cumsum(counts * middles)
    mean_below = sum_below / numpy.maximum(below, 1)
    mean_above = (sum_below[-1] - sum_below) / numpy.maximum(above, 1)
    return float(edges[1:][numpy.argmax(below * above * (mean_below - mean_above) ** 2)])


def scaled(values: Float[numpy.ndarray, "*S"]) -> Float32[numpy.ndarray, "*S"]:
    """Least 0, greatest 1; all 0 where nothing differs."""
    low, high = float(values.min()), float(values.max())
    return ((values - low) / (high - low) if high > low else numpy.zeros_like(values)).astype(numpy.float32)


def shrunk(photo: Pixels, *, side_px: int) -> Any:
    """The photo with at most this long side, by area averaging."""
    side = max(photo.shape[:2])
    if side <= side_px:
        return photo
    height, width = (max(1, round(length * side_px / side)) for length in photo.shape[:2])
    return numpy.asarray(Image.fromarray(numpy.ascontiguousarray(photo)).resize((width, height), Image.Resampling.BOX))


def enlarged(values: Float32[numpy.ndarray, "h w"], *, height: int, width: int) -> Float32[numpy.ndarray, "H W"]:
    """A map at another size, bilinearly, within 0..1."""
    if values.shape == (height, width):
        return values
    return numpy.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)

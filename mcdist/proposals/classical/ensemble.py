"""ensemble: several saliency maps of one photo together, then a colour model of what they agree on.

The members' mean is cut softly; how often each colour occurs inside and outside (a kernel density over superpixels) says for every superpixel which
side its colour is of, wherever it lies; the map is made of that, the members' mean and a weak preference for the middle of the photo. Superpixels are made once
for all members.
"""

from collections.abc import Callable

import numpy
from jaxtyping import Float32

from mcdist.errors import ConfigError
from mcdist.proposals.classical import background_detection, barrier_distance, frequency_tuned, manifold_ranking, spectral_residual
from mcdist.proposals.classical.colour_side import colour_side
from mcdist.proposals.classical.saliency import SaliencyMethod, View, otsu, scaled
from mcdist.proposals.classical.superpixels import Superpixels

NAME, VERSION = "ensemble", "1"

Member = Callable[[View, Superpixels], Float32[numpy.ndarray, " S"]]

MEMBERS: dict[str, Member] = {
    background_detection.NAME: lambda view, superpixels: background_detection.saliency_of(superpixels),
    barrier_distance.NAME: lambda view, superpixels: superpixels.mean_of(barrier_distance.saliency_of(view.lab, side_px=BARRIER_PX)),
    manifold_ranking.NAME: lambda view, superpixels: manifold_ranking.saliency_of(superpixels),
    frequency_tuned.NAME: lambda view, superpixels: superpixels.mean_of(frequency_tuned.saliency_of(view.lab)),
    spectral_residual.NAME: lambda view, superpixels: superpixels.mean_of(spectral_residual.saliency_of(view.lab)),
}

BARRIER_PX = 160
SOFTNESS = 0.12
"""Of the cut that starts the colour model."""
SAME_COLOUR = 6.0
"""Kernel width of the colour model in Lab."""
MIDDLE_WEIGHT = 0.5
MIDDLE_WIDTH = 0.33
"""The preference for the middle: weight beside the two others, and sigma as a share of the photo. These five were set on 160 VOC train photos."""


def middle(superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """1 in the middle of the photo, falling to the borders."""
    return numpy.exp(-((superpixels.centres - 0.5) ** 2).sum(axis=1) / (2 * MIDDLE_WIDTH**2)).astype(numpy.float32)


def combine(maps: list[Float32[numpy.ndarray, " S"]], *, weights: list[float], superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """One map, 0..1 a superpixel, of the members' maps."""
    mean = scaled(numpy.sum([weight * scaled(one) for one, weight in zip(maps, weights, strict=True)], axis=0))
    inside = (1 / (1 + numpy.exp(-(mean - otsu(mean)) / SOFTNESS))).astype(numpy.float32)
    alike = numpy.exp(-(superpixels.colour_distances**2) / (2 * SAME_COLOUR**2))
    side = colour_side(alike, within=superpixels.areas * inside, without=superpixels.areas * (1 - inside))
    return scaled(side + mean + MIDDLE_WEIGHT * middle(superpixels))


class Ensemble(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        superpixels, values = self.superpixel_saliency(view)
        return superpixels.paint(values)

    def superpixel_saliency(self, view: View) -> tuple[Superpixels, Float32[numpy.ndarray, " S"]]:
        """The superpixels of the working copy, and 0..1 for each."""
        superpixels = view.superpixels(self.parameters["superpixels"])
        maps = [MEMBERS[name](view, superpixels) for name in self.parameters["members"]]
        return superpixels, combine(maps, weights=self.parameters["weights"], superpixels=superpixels)


def make(
    *,
    device: str = "cpu",
    side_px: int = 256,
    superpixels: int = 300,
    members: str = "barrier_distance,manifold_ranking,background_detection",
    weights: str = "1,1,0.25",
    threshold: str = "otsu",
    split: bool = False,
) -> Ensemble:
    """`members`: saliency methods by name, with their `weights` in the same order; `side_px`: long side of the working copy; `superpixels`: how many."""
    listed = [name for name in members.split(",") if name]
    unknown = [name for name in listed if name not in MEMBERS]
    if unknown or not listed:
        raise ConfigError(f"ensemble: members must be some of {', '.join(MEMBERS)}, got {members!r}")
    try:
        numbers = [float(text) for text in weights.split(",")]
    except ValueError as error:
        raise ConfigError(f"ensemble: weights must be numbers, got {weights!r}") from error
    if len(numbers) != len(listed) or min(numbers) < 0 or not sum(numbers) > 0:
        raise ConfigError(f"ensemble: weights must have a number >= 0 for each of the {len(listed)} members, got {weights!r}")
    parameters = {"side_px": side_px, "superpixels": superpixels, "members": listed, "weights": numbers, "threshold": threshold, "split": split}
    return Ensemble(NAME, VERSION, parameters)

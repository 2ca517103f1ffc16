"""Saliency measures: how well soft maps agree with masks, by the definitions of their papers. Void counts nowhere.

| name | what it is |
|---|---|
| `max_f_mean_curve` | the F-measure (beta^2 = 0.3) at each of 256 cuts, averaged over photos, then the largest: the usual maxF |
| `max_f_photo_maxima` | the mean of each photo's own largest F-measure, beta^2 = 0.09: squared twice, as FOUND and SelfMask are evaluated |
| `max_f` | the F-measure (beta^2 = 0.3) of the pixels of all photos together, at the best cut |
| `s_measure` | structure, alpha 0.5: Fan et al., ICCV 2017 |
| `e_adaptive`, `e_mean`, `e_max` | enhanced alignment, cut at twice the map's mean, and of the mean curve the mean and the largest: Fan et al., IJCAI 2018 |
| `mean_absolute_error` | of the soft map |
"""

from dataclasses import dataclass, field

import numpy
from jaxtyping import Bool, Float, Int, UInt8

BETA_SQUARED = 0.3
"""Weight of precision against recall in the F-measure of saliency (Achanta et al., CVPR 2009)."""
NUM_CUTS = 256
_TINY = 1e-12

Curve = Float[numpy.ndarray, " 256"]
"""A value for each cut 0..255: pixels at or above it are found."""


@dataclass(frozen=True, slots=True)
class CutCounts:
    """Pixels of one photo (or of several) at or above each cut: all of them, and those that are the object's; and how many there are at all."""

    found: Int[numpy.ndarray, " 256"]
    hits: Int[numpy.ndarray, " 256"]
    num_pixels: int
    num_wanted: int

    def f_curve(self, *, beta_squared: float) -> Curve:
        """F-measure at each cut; precision is 1 where nothing is found."""
        precision = numpy.where(self.found > 0, self.hits / numpy.maximum(self.found, 1), 1.0)
        recall = self.hits / max(self.num_wanted, 1)
        return (1 + beta_squared) * precision * recall / numpy.maximum(beta_squared * precision + recall, _TINY)

    def e_curve(self) -> Curve:
        """Enhanced alignment at each cut, from counts alone: a binary map and a mask have four kinds of pixels."""
        shares = numpy.stack([self.hits, self.found - self.hits, self.num_wanted - self.hits, self._right_outside()]) / self.num_pixels
        found = self.found / self.num_pixels
        wanted = self.num_wanted / self.num_pixels
        if self.num_wanted in (0, self.num_pixels):
            return found if self.num_wanted else 1 - found
        kinds = ((1 - found, 1 - wanted), (1 - found, -wanted), (-found, 1 - wanted), (-found, -wanted))
        aligned = numpy.stack([2 * one * other / numpy.maximum(one**2 + other**2, _TINY) for one, other in kinds])
        return (shares * (1 + aligned) ** 2 / 4).sum(axis=0)

    def _right_outside(self) -> Int[numpy.ndarray, " 256"]:
        return self.num_pixels - self.found - self.num_wanted + self.hits


@dataclass
class SaliencyScores:
    """Grows by `add`, one photo at a time. `stretched`: each map is stretched to 0..255 first, as PySODMetrics does; it changes every measure."""

    stretched: bool = False
    num_photos: int = 0
    f_curves: Curve = field(default_factory=lambda: numpy.zeros(NUM_CUTS))
    e_curves: Curve = field(default_factory=lambda: numpy.zeros(NUM_CUTS))
    pooled_found: Int[numpy.ndarray, " 256"] = field(default_factory=lambda: numpy.zeros(NUM_CUTS, dtype=numpy.int64))
    pooled_hits: Int[numpy.ndarray, " 256"] = field(default_factory=lambda: numpy.zeros(NUM_CUTS, dtype=numpy.int64))
    num_wanted: int = 0
    photo_maxima: float = 0.0
    structure: float = 0.0
    adaptive: float = 0.0
    error: float = 0.0

    def add(self, confidence: UInt8[numpy.ndarray, "H W"], *, wanted: Bool[numpy.ndarray, "H W"], counted: Bool[numpy.ndarray, "H W"]) -> None:
        """One photo: its soft map, the mask, and which pixels are not void. A photo of void alone is left out."""
        if not counted.any():
            return
        soft = _stretched(confidence, counted=counted) if self.stretched else confidence
        counts = cut_counts(soft[counted], wanted=wanted[counted])
        self.num_photos += 1
        self.f_curves += counts.f_curve(beta_squared=BETA_SQUARED)
        self.photo_maxima += float(counts.f_curve(beta_squared=BETA_SQUARED**2).max())
        e_curve = counts.e_curve()
        self.e_curves += e_curve
        self.adaptive += float(e_curve[_adaptive_cut(soft[counted])])
        self.pooled_found += counts.found
        self.pooled_hits += counts.hits
        self.num_wanted += counts.num_wanted
        self.structure += s_measure(soft / 255, wanted=wanted, counted=counted)
        self.error += float(numpy.abs(soft[counted] / 255 - wanted[counted]).mean())

    def values(self) -> dict[str, float]:
        """All measures, 0..1; none without a photo."""
        if not self.num_photos:
            return {}
        pooled = CutCounts(self.pooled_found, self.pooled_hits, num_pixels=int(self.pooled_found[0]), num_wanted=self.num_wanted)
        e_curve = self.e_curves / self.num_photos
        return {
            "max_f": float(pooled.f_curve(beta_squared=BETA_SQUARED).max()),
            "max_f_mean_curve": float(self.f_curves.max() / self.num_photos),
            "max_f_photo_maxima": self.photo_maxima / self.num_photos,
            "s_measure": self.structure / self.num_photos,
            "e_adaptive": self.adaptive / self.num_photos,
            "e_mean": float(e_curve.mean()),
            "e_max": float(e_curve.max()),
            "mean_absolute_error": self.error / self.num_photos,
        }


def cut_counts(confidence: UInt8[numpy.ndarray, " N"], *, wanted: Bool[numpy.ndarray, " N"]) -> CutCounts:
    """Counts at all cuts from two histograms."""
    found, hits = (numpy.bincount(values, minlength=NUM_CUTS)[::-1].cumsum()[::-1] for values in (confidence, confidence[wanted]))
    return CutCounts(found, hits, num_pixels=len(confidence), num_wanted=int(wanted.sum()))


def s_measure(soft: Float[numpy.ndarray, "H W"], *, wanted: Bool[numpy.ndarray, "H W"], counted: Bool[numpy.ndarray, "H W"], alpha: float = 0.5) -> float:
    """alpha x (how even the map is inside and outside of the mask) + (1 - alpha) x (SSIM of four parts around the mask's centre), at least 0.

    Where the mask is empty or covers everything: how dark or bright the map is.
    """
    share = float(wanted[counted].mean())
    if share in (0.0, 1.0):
        mean = float(soft[counted].mean())
        return mean if share else 1 - mean
    evenness = share * _evenness(soft[wanted & counted]) + (1 - share) * _evenness(1 - soft[~wanted & counted])
    return max(0.0, alpha * evenness + (1 - alpha) * _region(soft, wanted=wanted, counted=counted))


def _evenness(values: Float[numpy.ndarray, " N"]) -> float:
    """2 mean / (mean^2 + 1 + standard deviation), 1 for ones."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation)


def _region(soft: Float[numpy.ndarray, "H W"], *, wanted: Bool[numpy.ndarray, "H W"], counted: Bool[numpy.ndarray, "H W"]) -> float:
    rows, columns = numpy.nonzero(wanted & counted)
    row, column = (int(numpy.floor(places.mean() + 0.5)) + 1 for places in (rows, columns))
    found = 0.0
    for part in (
        (slice(0, row), slice(0, column)),
        (slice(0, row), slice(column, None)),
        (slice(row, None), slice(0, column)),
        (slice(row, None), slice(column, None)),
    ):
        inside = counted[part]
        if inside.any():
            found += float(inside.sum() / counted.sum()) * _ssim(soft[part][inside], wanted[part][inside].astype(numpy.float64))
    return found


def _ssim(one: Float[numpy.ndarray, " N"], other: Float[numpy.ndarray, " N"]) -> float:
    """Without the constants of SSIM: 1 where both are even and one of them is 0, 0 where only one varies."""
    mean, wanted = float(one.mean()), float(other.mean())
    num_others = max(len(one) - 1, 1)
    spread, wanted_spread = float(((one - mean) ** 2).sum() / num_others), float(((other - wanted) ** 2).sum() / num_others)
    together = float(((one - mean) * (other - wanted)).sum() / num_others)
    above, below = 4 * mean * wanted * together, (mean**2 + wanted**2) * (spread + wanted_spread)
    if above:
        return above / (below + _TINY)
    return 0.0 if below else 1.0


def _adaptive_cut(confidence: UInt8[numpy.ndarray, " N"]) -> int:
    """Twice the mean, at most the brightest level."""
    return min(255, int(numpy.ceil(2 * float(confidence.mean()))))


def _stretched(confidence: UInt8[numpy.ndarray, "H W"], *, counted: Bool[numpy.ndarray, "H W"]) -> UInt8[numpy.ndarray, "H W"]:
    low, high = int(confidence[counted].min()), int(confidence[counted].max())
    if low == high:
        return confidence
    return ((confidence.astype(numpy.int64) - low) * 255 // (high - low)).clip(0, 255).astype(numpy.uint8)

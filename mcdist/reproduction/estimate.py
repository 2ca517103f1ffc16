"""Estimate: what a row takes, calculated from its arithmetic and a rate. Nothing here is measured on the device that it is for."""

from dataclasses import dataclass

from mcdist.reproduction.rows import Costs

ENCODERS = 2
"""A judged photo passes through the trained encoder and the one before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Photos that pass through the network, and the arithmetic of all of it, in PFLOP."""

    trained_photos: int
    judged_photos: int
    train_pflop: float
    evaluate_pflop: float

    def hours(self, *, gflops: float) -> float:
        """At `gflops` GFLOP a second, reached throughout."""
        return 1e6 * (self.train_pflop + self.evaluate_pflop) / gflops / 3600


def estimate_row(costs: Costs, *, num_photos: int, epochs: int, num_seeds: int, judged_photos: int) -> Estimate:
    """`num_photos` are trained on in each of `epochs`; `judged_photos` are judged or fitted on after it; all of it `num_seeds` times."""
    trained, judged = num_seeds * epochs * num_photos, num_seeds * judged_photos
    return Estimate(
        trained_photos=trained,
        judged_photos=judged,
        train_pflop=trained * costs.train_gflop / 1e6,
        evaluate_pflop=ENCODERS * judged * costs.evaluate_gflop / 1e6,
    )

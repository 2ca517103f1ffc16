"""Section `loss`: the terms of the loss."""

from dataclasses import dataclass

from mcdist.choices import Scope
from mcdist.config.checks import above, at_least, check_fields, require


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Science: the terms, each with its weight; the contrast's is 1."""

    temperature: float = 0.5
    scope: Scope = "global"
    """global: candidates and balance over all ranks (R ranks compute what one would) | rank: as the paper's code, per rank."""
    saliency_weight: float = 1.0
    """Of the saliency head's binary cross-entropy."""
    pixels_per_object: int = 0
    """Random pixels of each object that take part in the contrast (beyond the paper); 0: all."""
    false_negative_cosine: float = 1.0
    """Candidates whose cosine to the positive prototype is above this leave the denominator (beyond the paper); 1: off."""

    def __post_init__(self) -> None:
        check_fields(self, section="loss")
        above("loss.temperature", self.temperature, 0)
        at_least("loss.saliency_weight", self.saliency_weight, 0)
        require(
            -1 < self.false_negative_cosine <= 1,
            f"loss.false_negative_cosine must be a cosine > -1 and <= 1, got {self.false_negative_cosine}",
        )
        at_least("loss.pixels_per_object", self.pixels_per_object, 0)

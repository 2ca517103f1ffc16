"""Section `loss`: the terms of the loss."""

from dataclasses import dataclass

from mcdist.choices import GroupBalance, Scope
from mcdist.config.checks import above, at_least, check_fields, require


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Science: the terms, each with its weight; one of weight 0 is not computed."""

    temperature: float = 0.5
    scope: Scope = "global"
    """global: candidates and balance over all ranks (R ranks compute what one would) | rank: as the paper's code, per rank."""
    contrast_weight: float = 1.0
    """Of the contrast of pixels with the prototypes of objects. Without it and group_contrast the key encoder looks at no photo."""
    saliency_weight: float = 1.0
    """Of the saliency head's binary cross-entropy."""
    group_weight: float = 0.0
    """Of the group head's cross-entropy: each cell must name its object's group, or background; needs groups.num_groups (beyond the paper)."""
    group_balance: GroupBalance = "inverse"
    """How much the cells of a group, or of the background, weigh, by their number n in the batch: none (each cell the same) | sqrt (1 / sqrt(n)) |
    inverse (1 / n: every group the same)."""
    group_contrast_weight: float = 0.0
    """Of the contrast of pixels with the prototypes of groups, at the same temperature; needs groups.num_groups (beyond the paper)."""
    pixels_per_object: int = 0
    """Random pixels of each object that take part in both contrasts (beyond the paper); 0: all."""
    false_negative_cosine: float = 1.0
    """Candidates whose cosine to the positive prototype is above this leave the denominator (beyond the paper); 1: off."""

    def __post_init__(self) -> None:
        check_fields(self, section="loss")
        above("loss.temperature", self.temperature, 0)
        weights = {name: getattr(self, f"{name}_weight") for name in ("contrast", "saliency", "group", "group_contrast")}
        for name, weight in weights.items():
            at_least(f"loss.{name}_weight", weight, 0)
        require(any(weights.values()), f"one of {', '.join(f'loss.{name}_weight' for name in weights)} must be > 0, got 0 for all of them")
        require(
            -1 < self.false_negative_cosine <= 1,
            f"loss.false_negative_cosine must be a cosine > -1 and <= 1, got {self.false_negative_cosine}",
        )
        at_least("loss.pixels_per_object", self.pixels_per_object, 0)

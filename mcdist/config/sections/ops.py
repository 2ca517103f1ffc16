"""Section `ops`: how the operators are computed."""

from dataclasses import dataclass

from mcdist.choices import Implementation
from mcdist.config.checks import check_fields


@dataclass(frozen=True, slots=True)
class OpsConfig:
    """Efficiency: how the operators are computed. All ways compute the same numbers, but for rounding."""

    implementation: Implementation = "auto"
    """auto | reference (plain torch) | compact (torch, without full-resolution tensors) | fused (C++ on a CPU, Triton on CUDA)."""

    def __post_init__(self) -> None:
        check_fields(self, section="ops")

"""Settings of the field: how strongly pixels pull each other, and how far."""

from dataclasses import dataclass

from mcdist.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CrfSettings:
    """The published parameters of this field's papers (MaskContrast, STEGO and its kin).

    `near`: weight and standard deviation in px of the pull of pixels that are near. `alike`: of those near and alike in colour (0..255).
    `alpha`: what log-probabilities are multiplied by before anything else: 1, 2 (STEGO), 3 (CAUSE) or 4 (EAGLE). It decides the result.
    """

    iterations: int = 10
    near_weight: float = 3.0
    near_px: float = 1.0
    alike_weight: float = 4.0
    alike_px: float = 67.0
    alike_colour: float = 3.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        for name in ("near_px", "alike_px", "alike_colour", "alpha"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of the CRF must be above 0, got {getattr(self, name)}")
        for name in ("iterations", "near_weight", "alike_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} of the CRF must be at least 0, got {getattr(self, name)}")

"""TuneSettings: what a fine-tuning does, with the published values as defaults, and in which of them it departs from those."""

from dataclasses import dataclass, fields
from math import isfinite

from mcdist.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """The defaults are those of MaskContrast's linear evaluation (arXiv:2102.06191) and its released code.

    `size_px`: side of the squared photos and maps. `lr` is multiplied by `lr_drop` after `drop_after` of `num_epochs` epochs. A photo is mirrored with
    `flip_probability`, scaled by `scale_min` to `scale_max` and turned by up to `angle_max_deg` either way. `initial_std`: of the classifier's weights.
    `num_steps`: of finetune-fraction, which has no epochs; 0 for as many as `num_epochs` epochs over all labelled photos have.
    """

    size_px: int = 512
    batch: int = 16
    num_epochs: int = 60
    drop_after: int = 25
    num_steps: int = 0
    lr: float = 0.1
    lr_drop: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    flip_probability: float = 0.5
    scale_min: float = 0.75
    scale_max: float = 1.25
    angle_max_deg: float = 5.0
    initial_std: float = 0.01

    def __post_init__(self) -> None:
        for option, value in (("--size", self.size_px), ("--batch", self.batch), ("--epochs", self.num_epochs)):
            if value < 1:
                raise ConfigError(f"{option} must be at least 1, got {value}")
        if not 0 <= self.drop_after <= self.num_epochs:
            raise ConfigError(f"--drop-after must be between 0 and the {self.num_epochs} of --epochs, got {self.drop_after}")
        if self.num_steps < 0:
            raise ConfigError(f"--steps must be at least 0, where 0 is as many as the epochs have, got {self.num_steps}")
        if not (isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"--lr must be a number above 0, got {self.lr}")

    @property
    def departures(self) -> str:
        """Each setting that is not the published one, with the published one in brackets; "none" where all are."""
        published = {field.name: field.default for field in fields(self)}
        found = [f"{name} {getattr(self, name)} ({default})" for name, default in published.items() if name != "num_steps" and getattr(self, name) != default]
        found += [f"num_steps {self.num_steps} (as many as the epochs have)"] if self.num_steps else []
        return ", ".join(found) or "none"


FRACTIONS_PERCENT = (1.0, 2.0, 5.0, 12.5, 100.0)


def check_fractions(fractions_percent: tuple[float, ...]) -> None:
    """Raise ConfigError unless these are different shares above 0 and up to 100, from the smallest."""
    if not fractions_percent or list(fractions_percent) != sorted(set(fractions_percent)) or not 0 < fractions_percent[0] <= fractions_percent[-1] <= 100:
        given = ",".join(f"{percent:g}" for percent in fractions_percent)
        raise ConfigError(f"--fractions must be different shares in %, above 0 and up to 100, from the smallest, such as 1,2,5,12.5,100, got {given!r}")

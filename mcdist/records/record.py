"""Record: one number that a training run measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """`name` was `value` in `unit` after `step` optimizer steps. Units: "" (plain number), "s", "1/s", "%", "px", "GiB"."""

    step: int
    name: str
    value: float
    unit: str = ""

"""StepProfile: where the time of a training step goes, and how much of the machine it uses."""

import json
from dataclasses import asdict, dataclass

import numpy

REST = "rest of the step"
"""What no part covers: gathering, counting, logging, and what measuring costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPart:
    """One part of a step. `times_ms`: one value a step. `gflop`: of convolutions and matrix products, as torch counts them; 0 where it counts none."""

    name: str
    times_ms: tuple[float, ...]
    gflop: float = 0.0

    @property
    def median_ms(self) -> float:
        """Over the steps."""
        return float(numpy.median(self.times_ms))

    @property
    def gflops(self) -> float:
        """GFLOP a second; 0 where nothing was counted."""
        return 1000 * self.gflop / self.median_ms if self.median_ms else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """A profile of `num_steps` training steps after the first ones.

    `step_ms`: whole steps that nobody interrupted. `parts`: of as many other steps, in which the device is waited for around each part, so they may
    add up to more. `matrix_gflops`: what a plain matrix product reaches on this machine in this precision, the most that any part could.
    """

    run: str
    machine: str
    allocator: str
    device: str
    precision: str
    model: str
    ops: str
    photos_per_step: int
    view_px: int
    num_threads: int
    num_workers: int
    num_ranks: int
    load_average: float
    step_ms: tuple[float, ...]
    parts: tuple[StepPart, ...]
    matrix_gflops: float
    peak_resident_gib: float
    page_faults_per_step: float

    @property
    def num_steps(self) -> int:
        """Steps of each kind that were measured."""
        return len(self.step_ms)

    @property
    def photos_per_s(self) -> float:
        """Of whole steps: the median."""
        return 1000 * self.photos_per_step / float(numpy.median(self.step_ms))

    @property
    def parts_ms(self) -> float:
        """Of all parts."""
        return sum(part.median_ms for part in self.parts)

    def share_percent(self, part: StepPart) -> float:
        """Of the time of all parts."""
        return 100 * part.median_ms / self.parts_ms if self.parts_ms else 0.0

    def rate_percent(self, part: StepPart) -> float:
        """How close a part comes to a plain matrix product."""
        return 100 * part.gflops / self.matrix_gflops if self.matrix_gflops else 0.0

    def to_json(self) -> str:
        """All fields, as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"

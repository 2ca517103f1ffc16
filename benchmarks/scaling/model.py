"""How long a training step takes on n ranks, from what one rank computes and what a network needs. Pure functions; seconds and bytes.

    step = compute + gather of prototypes + counts + stop flag + the part of the gradients' all-reduce that the backward pass does not hide

`compute` contains the loss against all candidates, P n + K of them: the one part of a rank's computation that grows with the number of ranks.
"""

from collections.abc import Callable
from dataclasses import dataclass

COUNT_BYTES = 8
"""Of a pixel count; of a prototype besides its numbers."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a rank does in a step, without anybody to wait for. `prototypes`: rows a rank adds, whether an object is there or not."""

    encoders_s: float
    backward_s: float
    gradients_bytes: float
    prototypes: int
    dim: int


@dataclass(frozen=True, slots=True)
class Step:
    """Where the time of a step goes, on n ranks."""

    num_ranks: int
    compute_s: float
    loss_s: float
    gather_s: float
    small_s: float
    gradients_s: float
    exposed_s: float

    @property
    def total_s(self) -> float:
        """The whole step."""
        return self.compute_s + self.loss_s + self.gather_s + self.small_s + self.exposed_s


def prototypes_bytes(work: Work, *, num_ranks: int) -> int:
    """Of all ranks' prototypes with their counts."""
    return num_ranks * work.prototypes * (4 * work.dim + COUNT_BYTES)


def counts_bytes(work: Work, *, num_ranks: int) -> int:
    """Of the pixel counts: one a candidate of the batch, and two for the saliency."""
    return COUNT_BYTES * (num_ranks * work.prototypes + 2)


def step_of(
    work: Work,
    *,
    num_ranks: int,
    loss_s: float,
    overlap: float,
    all_reduce_s: Callable[[float], float],
    all_gather_s: Callable[[float], float],
) -> Step:
    """The step on `num_ranks`. `overlap`: share of the gradients' all-reduce that may hide behind the backward pass, as far as that is long enough."""
    alone = num_ranks == 1
    gradients_s = 0.0 if alone else all_reduce_s(work.gradients_bytes)
    return Step(
        num_ranks=num_ranks,
        compute_s=work.encoders_s,
        loss_s=loss_s,
        gather_s=0.0 if alone else all_gather_s(prototypes_bytes(work, num_ranks=num_ranks)),
        small_s=0.0 if alone else all_reduce_s(counts_bytes(work, num_ranks=num_ranks)) + all_reduce_s(4),
        gradients_s=gradients_s,
        exposed_s=gradients_s - min(overlap * gradients_s, work.backward_s),
    )

"""Learning rate as a pure function of the step."""

import math

from mcdist.choices import Schedule, require_choice

POLY_POWER = 0.9


def lr_at(step: int, *, num_steps: int, lr: float, schedule: Schedule, warmup_steps: int) -> float:
    """Learning rate of the step after `step` steps: linear warm-up from lr / warmup_steps, then the schedule down to 0 at `num_steps`.

    poly: lr (1 - t)^0.9. cosine: lr (1 + cos(pi t)) / 2. constant: lr. t runs from 0 to 1 after the warm-up.

    Raises:
        ConfigError: an unknown schedule.
    """
    require_choice("optim.schedule", schedule, choices=Schedule)
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    t = min((step - warmup_steps) / max(num_steps - warmup_steps, 1), 1.0)
    if schedule == "poly":
        return lr * (1.0 - t) ** POLY_POWER
    if schedule == "cosine":
        return lr * 0.5 * (1.0 + math.cos(math.pi * t))
    return lr

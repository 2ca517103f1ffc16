"""Axis: a range of numbers on a length of paper, with few round numbers to read it by."""

import math
from dataclasses import dataclass

TICKS_MAX = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from `low` to `high` (low < high) at paper positions from `start` to `end`, which may run backwards."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The paper position of a number."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, *, whole: bool = False) -> list[float]:
        """Round numbers within the range, at most `TICKS_MAX`; whole numbers only if asked for."""
        step = round_step((self.high - self.low) / (TICKS_MAX - 1))
        step = max(1.0, step) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [count * step for count in range(first, last + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `least` > 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= least * (1 - 1e-9))


def text_width(text: str, *, size: float) -> float:
    """About how wide a text of a proportional font is, rather too much than too little."""
    return size * sum(1.0 if ord(sign) > 0x2E7F else 0.6 for sign in text)

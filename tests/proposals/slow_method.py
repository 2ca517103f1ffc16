"""A proposal method of another package, as an entry point would name it: it takes its time, fails where a photo asks it to, and marks what is red."""

import time
from dataclasses import dataclass

import numpy

from mcdist.proposals.proposal import Method, Proposal


@dataclass(slots=True)
class Red(Method):
    """See the module."""

    wait_s: float = 0.0

    def propose(self, photo, *, name):
        time.sleep(self.wait_s)
        if "broken" in name:
            raise ZeroDivisionError("no way to divide this photo")
        return Proposal(((photo[..., 0] > 120) & (photo[..., 1] < 90)).astype(numpy.int16))


def make(*, device="cpu", wait_s: float = 0.0):
    return Red("red", "1", {"wait_s": wait_s}, wait_s=wait_s)

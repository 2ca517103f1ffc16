"""Refinement: the edges of proposed objects drawn to those of the photo, the same for all methods."""

import importlib
from collections.abc import Callable

from mcdist.errors import ConfigError
from mcdist.proposals.proposal import Pixels, Proposal

REFINEMENTS = ("none", "guided", "crf")

Refiner = Callable[[Pixels, Proposal], Proposal]


def make_refiner(name: str) -> Refiner:
    """The refinement of that name; ConfigError where there is none."""
    if name not in REFINEMENTS:
        raise ConfigError(f"--refine must be one of {', '.join(REFINEMENTS)}, got {name!r}")
    if name == "none":
        return lambda photo, proposal: proposal
    refiner: Refiner = importlib.import_module(f"mcdist.proposals.refinement.refine_{name}").refine
    return refiner

"""The encoders of an evaluation: the two of a run that it compares, or a backbone alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from mcdist.records.names import BACKBONE, ENCODERS, INITIAL_BACKBONE, MASKS, PROPOSALS, RANDOM_WEIGHTS, TRAINED_BACKBONE
from mcdist.types import Rgb


@dataclass(frozen=True, slots=True)
class EncoderPair:
    """The encoder after `step` steps and before the first. Both are on `device`, offer `backbone(image)` and `head(features)`, and keep the mode they have.

    `mean`, `std`: the pixel statistics that their backbone was trained on. `shared_backbone`: both backbones hold the same weights, as where training left
    it frozen, so one forward pass serves both. `num_groups`: K of each set of the trained encoder's group head; none without one. `random_backbone`: the
    same backbone with random weights, as a floor; None where it is not asked for.
    """

    trained: nn.Module
    initial: nn.Module
    step: int
    device: torch.device
    mean: Rgb
    std: Rgb
    shared_backbone: bool = False
    num_groups: tuple[int, ...] = ()
    random_backbone: nn.Module | None = None

    @property
    def aliases(self) -> dict[str, str]:
        """Names of ENCODERS whose features are those of another one."""
        return {INITIAL_BACKBONE: TRAINED_BACKBONE} if self.shared_backbone else {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoders whose features are computed, in the order of ENCODERS; random weights come last."""
        own = tuple(name for name in ENCODERS if name not in self.aliases)
        return own if self.random_backbone is None else (*own, RANDOM_WEIGHTS)

    @property
    def masks(self) -> tuple[str, ...]:
        """Sets of object masks: those that the trained encoder predicts too."""
        return MASKS

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All that has to be in evaluation mode."""
        return (self.trained, self.initial) if self.random_backbone is None else (self.trained, self.initial, self.random_backbone)


@dataclass(frozen=True, slots=True)
class LoneBackbone:
    """A backbone with published weights, judged without a run: it predicts no masks and has no embedding. Its one source of features is BACKBONE."""

    backbone: nn.Module
    device: torch.device
    mean: Rgb
    std: Rgb
    num_groups: tuple[int, ...] = ()

    @property
    def aliases(self) -> dict[str, str]:
        """None."""
        return {}

    @property
    def names(self) -> tuple[str, ...]:
        """One."""
        return (BACKBONE,)

    @property
    def masks(self) -> tuple[str, ...]:
        """The given ones."""
        return (PROPOSALS,)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All that has to be in evaluation mode."""
        return (self.backbone,)


Encoders = EncoderPair | LoneBackbone


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules of one architecture hold the same parameters and buffers, bit for bit."""
    here, there = one.state_dict(), other.state_dict()
    return here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Modules in eval mode, torch in inference mode; afterwards each submodule is back in its own mode."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in before:
            part.training = training

"""Proposal and Method: what every way of proposing object masks receives and returns.

A method is made once in each worker process by its module's `make(*, device, **options)` and then called with a few photos at a time. What it needs
and knows is in its attributes; everything else (reading, refusing, resizing, writing, counting) is done around it, once for all methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy
from jaxtyping import Bool, Float32, Int16, UInt8

from mcdist.errors import ConfigError, DataError

Pixels = UInt8[numpy.ndarray, "_ _ 3"]

MAX_SIDE_PX = 1600
"""Photos are shrunk to this long side before a method sees them, unless it asks for another; its maps are brought back to the photo's size."""


@dataclass(frozen=True, slots=True)
class ScoredMask:
    """One of several masks of a photo that may overlap: where it is, and how good the method thinks it is (0..1)."""

    mask: Bool[numpy.ndarray, "H W"]
    score: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """The objects proposed in one photo, all maps of the photo's size as the method was given it.

    `instances`: 0 background, 1.. the objects, -1 void. `confidence`: 0..1 a pixel, how sure the method is that an object is there; None if the method
    has none. `scores`: 0..1 an object, in their order, or none. `notes`: what is worth counting over all photos.
    """

    instances: Int16[numpy.ndarray, "H W"]
    confidence: Float32[numpy.ndarray, "H W"] | None = None
    scores: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_objects(self) -> int:
        """The highest object number."""
        return int(max(self.instances.max(initial=0), 0))


class CannotProposeError(DataError):
    """This photo gets no mask; `outcome` is what it is counted as, the message why and what to do."""

    def __init__(self, message: str, *, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        """With its outcome also from a worker process."""
        return _cannot_propose, (str(self), self.outcome)


def _cannot_propose(message: str, outcome: str) -> CannotProposeError:
    return CannotProposeError(message, outcome=outcome)


@dataclass(slots=True)
class Method:
    """Base of all methods: subclass it and write `propose`, or `propose_all` where photos are cheaper together.

    `name`, `version` and `parameters` are recorded with every output; raise `version` whenever the map of the same photo changes. The parameters are
    the maker's options as they were resolved.
    """

    name: str
    version: str
    parameters: dict[str, Any] = field(default_factory=dict)

    batched: ClassVar[int] = 1
    """How many photos to pass at a time."""
    scope: ClassVar[Literal["photo", "folder"]] = "photo"
    """`folder`: the photos of one folder, in the order of their names, come in one call: frames of a video."""
    max_side_px: ClassVar[int | None] = MAX_SIDE_PX
    """Larger photos are shrunk to this long side first; None: never."""

    def __post_init__(self) -> None:
        """Where a method checks its parameters."""

    def __call__(self, photos: Sequence[Pixels], *, names: Sequence[str] = ()) -> list[Proposal]:
        """One Proposal a photo. `names`: the photos' relative paths, for methods that look something up.

        Raises:
            CannotProposeError: a photo of the call cannot have a mask; with several photos the caller asks again for each alone.
        """
        return self.propose_all(photos, names=names or [""] * len(photos))

    def propose_all(self, photos: Sequence[Pixels], *, names: Sequence[str]) -> list[Proposal]:
        """The photos one after another, unless a method overrides it."""
        return [self.propose(photo, name=name) for photo, name in zip(photos, names, strict=True)]

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """The Proposal of one photo; see `__call__`."""
        raise NotImplementedError


LEAST = {"side_px": 32, "superpixels": 4, "barrier_px": 16, "spectrum_px": 8, "regions": 2, "max_objects": 1, "scale": 0, "sigma": 0}
"""The least that sizes and numbers may be, by the name they have in all methods."""


def check_least(parameters: dict[str, Any], *, method: str) -> None:
    """Raises ConfigError for a parameter below its `LEAST`, or that is no number."""
    for key, least in LEAST.items():
        if key in parameters and not parameters[key] >= least:
            raise ConfigError(f"{method}: {key} must be >= {least}, got {parameters[key]}")

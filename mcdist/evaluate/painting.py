"""Painting: which class or cluster a protocol gave each object, so that photos can be shown with it."""

from dataclasses import dataclass

import numpy
from jaxtyping import Int

from mcdist.records import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """`class_of_object`: index in `classes` of each object of `masks`, in the store's order. `class_of_background`: that of everything outside.

    `examples`: for each cluster the objects that show best what it is; none where nothing was clustered.
    """

    classes: tuple[str, ...]
    masks: str
    class_of_object: Int[numpy.ndarray, " O"]
    class_of_background: int
    examples: tuple[tuple[Example, ...], ...] = ()

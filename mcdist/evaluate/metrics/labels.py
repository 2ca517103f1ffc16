"""LabelMap: from the ground truth's raw ids to the classes that are evaluated. What no class names is void."""

from dataclasses import dataclass

import numpy
from jaxtyping import Int, UInt8

from mcdist.errors import ConfigError

VOID_CLASS = 255
"""Class index of pixels that count nowhere; also the raw id that a stored ground truth keeps for void."""

NO_CLASS = "no class"
"""The first class of a data set without background."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """`names` in order, background first; `index_of` gives each raw id 0..255 its class index, VOID_CLASS for none.

    Without `has_background` the first class is NO_CLASS, which no id belongs to: what is matched to it counts for nothing.
    """

    names: tuple[str, ...]
    index_of: UInt8[numpy.ndarray, " 256"]
    has_background: bool = True

    @property
    def ids(self) -> dict[str, list[int]]:
        """The raw ids of each class, in ascending order."""
        first = 0 if self.has_background else 1
        return {name: numpy.flatnonzero(self.index_of == index).tolist() for index, name in enumerate(self.names) if index >= first}

    @property
    def of_ids(self) -> Int[numpy.ndarray, "256 C"]:
        """1 where an id belongs to a class, else 0: counts by id times this are counts by class."""
        members = numpy.zeros((len(self.index_of), len(self.names)), dtype=numpy.int64)
        named = numpy.flatnonzero(self.index_of != VOID_CLASS)
        members[named, self.index_of[named]] = 1
        return members

    def apply(self, segments: UInt8[numpy.ndarray, "H W"]) -> UInt8[numpy.ndarray, "H W"]:
        """Class index of every pixel, VOID_CLASS where the raw id belongs to no class."""
        return self.index_of[segments]

    def matched_to(self, other: "LabelMap") -> "LabelMap":
        """These ids under the class indices of `other`, by name: for photos of another data set. A class that `other` does not have is void.

        Raises:
            ConfigError: no class but background has a name in both.
        """
        place = {name: index for index, name in enumerate(other.names)}
        new_index = numpy.array([place.get(name, VOID_CLASS) for name in self.names] + [VOID_CLASS] * (256 - len(self.names)), dtype=numpy.uint8)
        if not set(self.names[1:]) & set(other.names[1:]):
            raise ConfigError(
                f"evaluate.train_classes and evaluate.classes must share the name of a class, got {', '.join(self.names)} and {', '.join(other.names)}"
            )
        return LabelMap(names=other.names, index_of=new_index[self.index_of], has_background=other.has_background)


def label_map(classes: dict[str, list[int]], *, has_background: bool = True) -> LabelMap:
    """The map of `evaluate.classes`: name -> raw ids, the first name background, if there is one.

    Raises:
        ConfigError: fewer than two classes, a class without ids, an id outside 0..254 or one named twice.
    """
    if len(classes) < 2:
        raise ConfigError(
            f"evaluate.classes must name background and at least one more class, got {list(classes) or 'none'}; "
            "set it in the configuration, as in: evaluate.classes={background: [0], cat: [8], dog: [12]}, or name a description: evaluate.classes=voc21"
        )
    index_of = numpy.full(256, VOID_CLASS, dtype=numpy.uint8)
    names = tuple(classes) if has_background else (NO_CLASS, *classes)
    for index, (name, ids) in enumerate(classes.items(), start=0 if has_background else 1):
        _name_ids(index_of, index=index, name=name, ids=ids, names=names)
    return LabelMap(names=names, index_of=index_of, has_background=has_background)


def _name_ids(index_of: UInt8[numpy.ndarray, " 256"], *, index: int, name: str, ids: list[int], names: tuple[str, ...]) -> None:
    if not ids:
        raise ConfigError(f"evaluate.classes.{name} must have at least one id of the ground truth, got none; name its ids or remove the class")
    for raw_id in ids:
        if isinstance(raw_id, bool) or not isinstance(raw_id, int) or not 0 <= raw_id < VOID_CLASS:
            raise ConfigError(f"evaluate.classes.{name} must have ids in 0..254 (255 is void), got {raw_id!r}")
        if index_of[raw_id] != VOID_CLASS:
            raise ConfigError(f"evaluate.classes: id {raw_id} belongs to {names[index_of[raw_id]]!r} and {name!r}; keep it in one class")
        index_of[raw_id] = index

"""Truth: ground-truth maps for judging proposals. Never read where proposals are made."""

from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Bool, Int

from mcdist.data.pictures.folder import check_folder, stem_of
from mcdist.data.pictures.map_file import read_map_file
from mcdist.errors import DataError


@dataclass(frozen=True, slots=True)
class Truth:
    """A folder of maps of class ids, one PNG under each photo's own path.

    `background` and `void` ids; `foreground` ids, empty for all others; ids that are none of these count as void. A map that holds only 0 and 255 is binary,
    255 being the object (as DAVIS has it).
    """

    root: Path
    background: tuple[int, ...] = (0,)
    void: tuple[int, ...] = (255,)
    foreground: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_folder(self.root, what="ground truth")

    def read(self, photo: str) -> Int[numpy.ndarray, "H W"] | None:
        """Class of every pixel: 0 background, -1 void, else the class id (of a foreground id 0: 256). None where the photo has no map.

        Raises:
            DataError: the map cannot be read.
        """
        path = self.root / f"{stem_of(photo)}.png"
        if not path.is_file():
            return None
        ids = read_map_file(path, what="the ground truth")
        if ids.max(initial=0) > 255:
            raise DataError(f"the ground truth {path} holds ids up to {ids.max()}, expected 0..254 and 255 for void; map them to at most 255 classes")
        if set(numpy.unique(ids).tolist()) <= {0, 255} and (ids == 255).any() and 0 in self.background and not self.foreground:
            return (ids == 255).astype(numpy.int32)
        table = numpy.full(256, -1, dtype=numpy.int32)
        for number in self.foreground or range(256):
            table[number] = number or 256
        table[list(self.background)] = 0
        table[list(self.void)] = -1
        return table[ids]


def outline(inside: Bool[numpy.ndarray, "H W"]) -> Bool[numpy.ndarray, "H W"]:
    """Pixels of `inside` that have a neighbour outside it, within the photo."""
    edge = numpy.zeros_like(inside)
    edge[:-1] |= inside[:-1] & ~inside[1:]
    edge[1:] |= inside[1:] & ~inside[:-1]
    edge[:, :-1] |= inside[:, :-1] & ~inside[:, 1:]
    edge[:, 1:] |= inside[:, 1:] & ~inside[:, :-1]
    return edge

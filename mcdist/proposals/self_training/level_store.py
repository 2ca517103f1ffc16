"""LevelStore: the frozen backbone's features of each photo, computed once and kept on disk while the rounds of self-training last.

Most of the time of self-training would go into the backbone, which never changes. Where the disk has no room, levels are computed each time, to the same bits.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mcdist.errors import MachineError

Levels = list[Float[Tensor, "B _ _ _"]]
GIBIBYTE = 1024**3


class LevelStore:
    """`levels(indices)` of `num_photos` photos. `read(index)`: the photo as the network takes it; `compute`: photos to levels, in float16's numbers.

    Kept as float16 in `folder`, if that takes at most `max_gib`. What an earlier process left there is not trusted and removed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_photos: int,
        read: Callable[[Sequence[int]], UInt8[Tensor, "B 3 S S"]],
        compute: Callable[[UInt8[Tensor, "B 3 S S"]], Levels],
        max_gib: float,
    ) -> None:
        self.folder, self.read, self.compute = folder, read, compute
        self.num_photos, self.max_gib = num_photos, max_gib
        self.known = numpy.zeros(num_photos, dtype=bool)
        self._kept: list[numpy.ndarray] | None = None
        self._opened = False
        self.remove()

    def levels(self, indices: Sequence[int]) -> Levels:
        """One batch on the CPU."""
        missing = [index for index in dict.fromkeys(indices) if not self.known[index]]
        fresh: dict[int, list[Tensor]] = {}
        for index in missing:  # alone: the sums of a batch are taken in another order, and what is missing differs after a stop
            fresh[index] = [level[0].cpu() for level in self.compute(self.read([index]))]
        self._keep(fresh)
        rows = [fresh[index] if index in fresh else self._read_kept(index) for index in indices]
        return [torch.stack(level) for level in zip(*rows, strict=True)]

    def remove(self) -> None:
        """Free the disk."""
        self._kept, self._opened = None, False
        self.known[:] = False
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_kept(self, index: int) -> list[Tensor]:
        assert self._kept is not None
        return [torch.from_numpy(numpy.array(level[index])).float() for level in self._kept]

    def _keep(self, fresh: dict[int, list[Tensor]]) -> None:
        if not fresh:
            return
        if not self._opened:
            self._open(next(iter(fresh.values())))
        if self._kept is None:
            return
        for index, levels in fresh.items():
            for kept, level in zip(self._kept, levels, strict=True):
                kept[index] = level.half().numpy()
            self.known[index] = True

    def _open(self, sample: list[Tensor]) -> None:
        """Files of the full size, if they have room."""
        self._opened = True
        num_bytes = self.num_photos * sum(level.numel() * 2 for level in sample)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if num_bytes > min(self.max_gib * GIBIBYTE, 0.9 * shutil.disk_usage(self.folder).free):
                return
            self._kept = [
                numpy.lib.format.open_memmap(self.folder / f"level-{number}.npy", mode="w+", dtype=numpy.float16, shape=(self.num_photos, *level.shape))
                for number, level in enumerate(sample)
            ]
        except OSError as error:
            raise MachineError(f"cannot keep features in {self.folder}: {error.strerror}; free some space, or choose another --out") from error

"""Scratch: vectors written once and read many times, in a file without a name that is gone with the process. Memory holds one block."""

import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy
from jaxtyping import Float32

from mcdist.errors import MachineError

BLOCK_VALUES = 2**22
"""Values of a block: 16 MiB."""


class Scratch:
    """Float32 vectors in the folder for temporary files (the variable TMPDIR). Read with plain reads, not mapped, so that they count as no memory."""

    def __init__(self, num_dims: int) -> None:
        """Empty. Used in a `with` statement."""
        self.num_dims, self.num_rows = num_dims, 0
        self._file = tempfile.TemporaryFile(prefix="mcdist_")  # noqa: SIM115 -- closed by __exit__

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def append(self, vectors: Float32[numpy.ndarray, "N D"]) -> None:
        """Write vectors behind those before.

        Raises:
            MachineError: the disk is full.
        """
        try:
            self._file.write(numpy.ascontiguousarray(vectors).tobytes())
        except OSError as error:
            raise MachineError(
                f"cannot write {vectors.nbytes:,} bytes of scratch vectors to {tempfile.gettempdir()} ({error.strerror}); "
                "free space, or set TMPDIR to another disk"
            ) from error
        self.num_rows += len(vectors)

    @property
    def block_rows(self) -> int:
        """Vectors of a block, unless another number is asked for: as many as BLOCK_VALUES are."""
        return max(1, BLOCK_VALUES // self.num_dims)

    @property
    def num_blocks(self) -> int:
        """Of `block_rows` vectors each; the last may have fewer."""
        return -(-self.num_rows // self.block_rows)

    def blocks(self, *, size: int = 0, places: Sequence[int] | None = None) -> Iterator[Float32[numpy.ndarray, "B D"]]:
        """All vectors, in order, `size` at a time, 0 for `block_rows`; or those of some blocks, by their places. One reader at a time."""
        self._file.flush()
        size = size or self.block_rows
        for first in range(0, self.num_rows, size) if places is None else (place * size for place in places):
            block = numpy.empty((min(size, self.num_rows - first), self.num_dims), dtype=numpy.float32)
            self._file.seek(first * self.num_dims * 4)
            self._file.readinto(block.data.cast("B"))
            yield block
        self._file.seek(0, 2)

"""Scratch: vectors written once and read many times, in a file without a name that is gone with the process. Memory holds one block."""

import tempfile
from collections.abc import Iterator
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

    def blocks(self) -> Iterator[Float32[numpy.ndarray, "B D"]]:
        """All vectors, in order. One reader at a time."""
        self._file.flush()
        size = max(1, BLOCK_VALUES // self.num_dims)
        for first in range(0, self.num_rows, size):
            num = min(size, self.num_rows - first)
            self._file.seek(first * self.num_dims * 4)
            yield numpy.frombuffer(self._file.read(num * self.num_dims * 4), dtype=numpy.float32).reshape(num, self.num_dims)
        self._file.seek(0, 2)

"""NearestRows: which of many unit vectors are nearest to a few others, by comparing with all of them (FAISS). 100,000 of 64 numbers take some milliseconds."""

from pathlib import Path

import numpy
from jaxtyping import Float, Int

from mcdist.errors import MachineError, first_line
from mcdist.groups.clustering.faiss_library import faiss_threads, load_faiss


class NearestRows:
    """Holds one copy of the vectors."""

    def __init__(self, vectors: Float[numpy.ndarray, "O D"]) -> None:
        """Unit vectors. Raises MissingExtraError where no FAISS is installed."""
        self._faiss = load_faiss()
        self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(numpy.ascontiguousarray(vectors, dtype=numpy.float32))

    def write(self, path: Path) -> None:
        """Write the index as FAISS does; row i is vector i. MachineError where the disk refuses."""
        try:
            self._faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise MachineError(f"cannot write {path}: {first_line(error)}; free some space or choose another folder") from error

    def search(self, queries: Float[numpy.ndarray, "Q D"], *, num: int) -> tuple[Int[numpy.ndarray, "Q num"], Float[numpy.ndarray, "Q num"]]:
        """(rows, cosines) of the nearest vectors of each query, nearest first; fewer than `num` where there are fewer vectors."""
        num = min(num, self._index.ntotal)
        with faiss_threads(self._faiss, num_products=len(queries) * self._index.ntotal * self._index.d):
            cosines, rows = self._index.search(numpy.ascontiguousarray(queries, dtype=numpy.float32), num)
        return rows, numpy.clip(cosines, -1, 1)

"""FeatureStore: what an encoder says about a data set, read from disk as it is asked for. Nothing here loads a whole store."""

import math
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from tokenize import TokenError

import numpy
from jaxtyping import Int, Shaped

from mcdist.errors import DAMAGE, DataError
from mcdist.store.manifest import read_manifest
from mcdist.store.names import array_name, chunk_name
from mcdist.store.plan import damaged


class Column:
    """One column of a table over all chunks. Rows are in photo order, whatever wrote them."""

    def __init__(self, folder: Path, *, file_name: str, dtype: str, row_shape: tuple[int, ...], rows: list[int]) -> None:
        """`rows`: rows of each chunk. Nothing is opened yet."""
        self.folder, self.file_name, self.rows = folder, file_name, rows
        self.dtype, self.row_shape = numpy.dtype(dtype), row_shape
        self._ends = list(accumulate(rows))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def chunk(self, place: int) -> Shaped[numpy.ndarray, "rows *row"]:
        """The rows of one chunk, mapped into memory: the disk is read where they are touched.

        Raises:
            DataError: the file is missing, or is not the array that the manifest lists.
        """
        path = self.folder / chunk_name(place) / self.file_name
        try:
            values = numpy.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, SyntaxError, TokenError, *DAMAGE) as error:  # an array's header is a line of Python, which numpy parses as a literal
            raise damaged(str(path), error) from error
        if values.dtype != self.dtype or values.shape != (self.rows[place], *self.row_shape):
            expected = f"{self.dtype} {(self.rows[place], *self.row_shape)}"
            raise damaged(str(path), ValueError(f"it holds {values.dtype} {values.shape}, the manifest lists {expected}"))
        return values

    def chunks(self) -> Iterator[Shaped[numpy.ndarray, "rows *row"]]:
        """`chunk` after `chunk`."""
        for place in range(len(self.rows)):
            yield self.chunk(place)

    def read(self) -> Shaped[numpy.ndarray, "rows *row"]:
        """The whole column in memory.

        Raises:
            DataError: a file is missing, or is not the array that the manifest lists.
        """
        self._check_size()
        whole = numpy.empty((len(self), *self.row_shape), dtype=self.dtype)
        for end, values in zip(self._ends, self.chunks(), strict=True):
            whole[end - len(values) : end] = values
        return whole

    def _check_size(self) -> None:
        """Before memory is asked for: a damaged manifest may list any number of rows."""
        paths = [self.folder / chunk_name(place) / self.file_name for place in range(len(self.rows))]
        try:
            on_disk = sum(path.stat().st_size for path in paths)
        except OSError as error:
            raise damaged(str(error.filename), error) from error
        listed = (self._ends or [0])[-1] * self.dtype.itemsize * math.prod(self.row_shape)
        if listed > on_disk:
            raise damaged(str(self.folder), ValueError(f"the manifest lists {listed:,} bytes of {self.file_name}, the files have {on_disk:,}"))

    def take(self, rows: Int[numpy.ndarray, " N"]) -> Shaped[numpy.ndarray, "N *row"]:
        """Some rows, in the order asked for; each chunk that holds one of them is opened once."""
        taken = numpy.empty((len(rows), *self.row_shape), dtype=self.dtype)
        place_of = numpy.searchsorted(self._ends, rows, side="right")
        for place in numpy.unique(place_of).tolist():
            wanted = place_of == place
            taken[wanted] = self.chunk(place)[rows[wanted] - (self._ends[place] - self.rows[place])]
        return taken


class FeatureStore:
    """A complete store on disk: tables of columns. The table `photos` has one row for each photo, in the data set's order."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError where `folder` holds no complete store, or one of another schema version."""
        manifest = read_manifest(folder)
        if manifest is None:
            raise DataError(f"expected a feature store at {folder}, found no complete one; make it with: mcdist embed RUN --out {folder}")
        self.folder, self.manifest = folder, manifest
        self._aliases = {(table, column): source for table, column, source in manifest.plan.aliases}

    @property
    def num_photos(self) -> int:
        """Photos in the store."""
        return self.manifest.plan.num_photos

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(self.manifest.columns)

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("chunk_*/*.npy"))

    def num_rows(self, table: str) -> int:
        """Rows of a table; 0 in a store without photos."""
        return self.manifest.num_rows(table)

    def has(self, table: str, column: str) -> bool:
        """Whether the store holds a column."""
        return self._aliases.get((table, column), column) in self.manifest.columns.get(table, {})

    def columns(self, table: str) -> tuple[str, ...]:
        """Names of a table's columns, those that are aliases too."""
        aliases = (column for owner, column in self._aliases if owner == table)
        return (*self.manifest.columns.get(table, {}), *aliases)

    def column(self, table: str, column: str) -> Column:
        """A column by its name.

        Raises:
            DataError: the store has none of that name; those that it has are named.
        """
        if not self.has(table, column):
            listed = ", ".join(self.columns(table)) or "none"
            raise DataError(f"the feature store {self.folder} has no column {column!r} of {table}; it has: {listed}")
        name = self._aliases.get((table, column), column)
        dtype, row_shape = self.manifest.columns[table][name]
        rows = [chunk[table] for chunk in self.manifest.rows]
        return Column(self.folder, file_name=array_name(table, name), dtype=dtype, row_shape=row_shape, rows=rows)

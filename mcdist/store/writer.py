"""StoreWriter: a feature store grows by whole chunks, from any number of processes; a killed extraction goes on where it stopped."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy

from mcdist.errors import DAMAGE, ConfigError, DataError, MachineError
from mcdist.store.manifest import Columns, Manifest, read_manifest, write_manifest
from mcdist.store.names import array_name, chunk_name
from mcdist.store.plan import StorePlan, damaged, differences, read_plan, write_plan
from mcdist.store.store import FeatureStore

Tables = Mapping[str, Mapping[str, numpy.ndarray]]
"""Table -> column -> values, one row each along the first axis."""


class StoreWriter:
    """Writes the chunks of `plan` into `folder`. A chunk's folder appears whole: it is made beside and renamed."""

    def __init__(self, folder: Path, *, plan: StorePlan, made_in: Path | None = None) -> None:
        """Continue in a folder that `begin_store` prepared.

        `made_in`: a folder of the same disk where everything is made before it is renamed. Once that is gone, nothing more is written: this is how a
        store that belongs to a run is kept from a start that was replaced (`mcdist.resilience.claim`).
        """
        self.folder, self.plan, self.made_in = folder, plan, made_in

    def has(self, place: int) -> bool:
        """Whether chunk `place` is written."""
        return (self.folder / chunk_name(place)).is_dir()

    @property
    def num_photos(self) -> int:
        """Photos whose chunks are written."""
        return sum(len(chunk) for place, chunk in enumerate(self.plan.chunks) if self.has(place))

    def write(self, place: int, tables: Tables) -> None:
        """Write chunk `place`; nothing happens where another process has written it meanwhile.

        Raises:
            MachineError: the disk refuses; what was written before is intact, and the same command goes on.
        """
        beside = (self.made_in or self.folder) / f".{chunk_name(place)}.{os.getpid()}"
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            for table, columns in tables.items():
                for column, values in columns.items():
                    _save(beside / array_name(table, column), values)
            if not self.has(place):
                beside.rename(self.folder / chunk_name(place))
        except OSError as error:
            if not self.has(place):
                raise MachineError(
                    f"cannot write {chunk_name(place)} of the feature store {self.folder}: {error.strerror or error}; "
                    "free some space and run the same command again, which goes on with this chunk"
                ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def finish(self, tables: Mapping[str, list[str]]) -> FeatureStore:
        """Check that every chunk has the columns of `tables`, and write the manifest.

        Raises:
            DataError: a chunk is missing or damaged.
        """
        columns: Columns = {}
        rows = []
        for place in range(len(self.plan.chunks)):
            found, num_rows = _describe(self.folder / chunk_name(place), tables)
            if columns and found != columns:
                raise damaged(str(self.folder / chunk_name(place)), ValueError(f"its columns are {found}, those of the chunks before are {columns}"))
            columns = found
            rows.append(num_rows)
        write_manifest(Manifest(plan=self.plan, columns=columns, rows=tuple(rows)), folder=self.folder, made_in=self.made_in)
        return FeatureStore(self.folder)


def begin_store(folder: Path, *, plan: StorePlan, made_in: Path | None = None, setting: str = "--out") -> StorePlan:
    """Prepare `folder` for the chunks of `plan`, and return the plan to follow: that of an earlier extraction of the same things, where one was stopped.

    `made_in` as `StoreWriter`; `setting`: what names another folder, for messages.

    Raises:
        ConfigError: the folder holds a store of something else, or other files.
        MachineError: the folder cannot be made.
    """
    earlier = read_plan(folder)
    if earlier is not None:
        if differs := differences(earlier, wanted=plan):
            raise other_store(folder, differs)
        return earlier
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise ConfigError(f"{folder} holds other files, expected an empty folder or a feature store; choose another one with {setting}")
    except OSError as error:
        raise MachineError(f"cannot create the folder of the feature store {folder}: {error.strerror}; choose another one with {setting}") from error
    write_plan(plan, folder=folder, made_in=made_in)
    return plan


def find_store(folders: list[Path], *, plan: StorePlan, at_least: tuple[str, ...] = ()) -> FeatureStore | None:
    """The first complete store in `folders` that may serve as `plan`; see `differences`. Damaged and other ones are passed over."""
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except DataError:
            continue
        if manifest is not None and not differences(manifest.plan, wanted=plan, at_least=at_least):
            return FeatureStore(folder)
    return None


def other_store(folder: Path, differs: list[str]) -> ConfigError:
    """The error of a store that was made of other things."""
    return ConfigError(f"the feature store {folder} was made of something else: {'; '.join(differs)}; choose another folder, or delete it")


def _save(path: Path, values: numpy.ndarray) -> None:
    with path.open("wb") as file:
        numpy.lib.format.write_array(file, numpy.ascontiguousarray(values), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _describe(folder: Path, tables: Mapping[str, list[str]]) -> tuple[Columns, dict[str, int]]:
    columns: Columns = {}
    rows = {}
    for table, names in tables.items():
        try:
            arrays = {name: numpy.load(folder / array_name(table, name), mmap_mode="r", allow_pickle=False) for name in names}
        except OSError as error:
            raise DataError(f"{folder} is incomplete ({error}); run the same command again, and check that all ranks see the same folder") from error
        except DAMAGE as error:
            raise damaged(str(folder), error) from error
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1:
            raise damaged(str(folder), ValueError(f"the columns of {table} have {sorted(lengths)} rows"))
        columns[table] = {name: (array.dtype.str, array.shape[1:]) for name, array in arrays.items()}
        rows[table] = lengths.pop()
    return columns, rows

"""Source: the object vectors of a feature store as views of a graph, and which of a run's stores to take."""

from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Int

from mcdist.errors import ConfigError, DataError
from mcdist.groups.record import Source
from mcdist.run_dir import RunDir, step_of
from mcdist.store.manifest import read_manifest
from mcdist.store.names import VECTORS
from mcdist.store.plan import digest
from mcdist.store.store import Column, FeatureStore


@dataclass(frozen=True, slots=True)
class Objects:
    """`views`: columns of object vectors; `source_of`: equal numbers are never neighbours, None where nothing is excluded."""

    source: Source
    views: tuple[Column, ...]
    source_of: Int[numpy.ndarray, " N"] | None


def objects_of(store: FeatureStore, *, table: str, kinds: tuple[str, ...], excluded_by: str = "") -> Objects:
    """The objects of a table. A kind is a column's name, with or without `vectors/`; `excluded_by` is a column of whole numbers, empty for none.

    Raises:
        DataError: no such table or column; those that there are are named.
        ConfigError: no kind, one twice, or a column that holds no vectors or no numbers.
    """
    if table not in store.tables:
        raise DataError(f"the feature store {store.folder} has no table {table!r}; it has: {', '.join(store.tables) or 'none'}")
    names = tuple(_column_name(store, table=table, kind=kind) for kind in kinds)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"the kinds of object vectors must be one or more different ones, got {', '.join(kinds) or 'none'}")
    views = tuple(store.column(table, name) for name in names)
    for name, view in zip(names, views, strict=True):
        if len(view.row_shape) != 1 or view.dtype.kind != "f":
            raise ConfigError(
                f"column {name!r} of {table} holds {view.dtype} {view.row_shape} a row, expected one vector; choose one of: {_kinds(store, table)}"
            )
    source = Source(store=store_digest(store), table=table, columns=names, excluded_by=excluded_by)
    return Objects(source=source, views=views, source_of=_numbers(store, table=table, column=excluded_by) if excluded_by else None)


def store_digest(store: FeatureStore) -> str:
    """SHA-256 of what determines a store's arrays: checkpoint, data and settings."""
    plan = store.manifest.plan
    return digest([plan.checkpoint, plan.data, plan.settings])


def find_store_of(folder: Path) -> FeatureStore:
    """The store in `folder`, or the newest one of the run in `folder`.

    Raises:
        ConfigError: a run without a store, or with several of its newest step; they are named.
        DataError: neither a store nor a run.
    """
    run = RunDir(folder)
    if not run.config.is_file():
        return FeatureStore(folder)
    complete = [path for path in sorted(run.features.glob("step_*")) if read_manifest(path) is not None]
    if not complete:
        raise ConfigError(f"the run {folder} has no feature store; make one with: mcdist embed {folder}")
    steps = [_step(path) for path in complete]
    newest = [path for path, step in zip(complete, steps, strict=True) if step == max(steps)]
    if len(newest) > 1:
        raise ConfigError(f"the run {folder} has {len(newest)} feature stores of its newest step; name one: {', '.join(map(str, newest))}")
    return FeatureStore(newest[0])


def default_folder(store: FeatureStore) -> Path:
    """Beside the store."""
    folder = store.folder.resolve()
    return folder.with_name(f"{folder.name}-groups")


def _step(path: Path) -> int:
    step = step_of(path.with_name(path.name.partition("-")[0]))
    return -1 if step is None else step


def _column_name(store: FeatureStore, *, table: str, kind: str) -> str:
    name = kind if kind.startswith(VECTORS) else f"{VECTORS}{kind}"
    if store.has(table, name):
        return name
    raise DataError(f"the feature store {store.folder} has no object vectors {kind!r} of {table}; it has: {_kinds(store, table)}")


def _kinds(store: FeatureStore, table: str) -> str:
    return ", ".join(name.removeprefix(VECTORS) for name in store.columns(table) if name.startswith(VECTORS)) or "none"


def _numbers(store: FeatureStore, *, table: str, column: str) -> Int[numpy.ndarray, " N"]:
    values = store.column(table, column)
    if values.row_shape or values.dtype.kind not in "iu":
        raise ConfigError(f"column {column!r} of {table} holds {values.dtype} {values.row_shape} a row, expected one whole number, such as photo")
    return values.read().astype(numpy.int64)

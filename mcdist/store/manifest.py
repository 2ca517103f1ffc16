"""Manifest: the tables, columns and rows of a feature store. Written last, so its presence means that the store is complete."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from mcdist.errors import DAMAGE, DataError
from mcdist.run_dir import write_atomically
from mcdist.store.names import MANIFEST_NAME, check_name
from mcdist.store.plan import StorePlan, damaged, parse_plan, plan_json, read_json

Columns = dict[str, dict[str, tuple[str, tuple[int, ...]]]]
"""Table -> column -> (dtype as numpy names it, shape of one row)."""

MAX_ROW_VALUES = 2**40


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole store. `rows`: for each chunk, the rows of each table."""

    plan: StorePlan
    columns: Columns
    rows: tuple[dict[str, int], ...]

    def num_rows(self, table: str) -> int:
        """Rows of a table over all chunks."""
        return sum(rows[table] for rows in self.rows)


def write_manifest(manifest: Manifest, *, folder: Path, made_in: Path | None = None) -> None:
    """Write `manifest.json`, whole or not at all; it is made beside, or in `made_in`, of the same disk."""
    content = {**json.loads(plan_json(manifest.plan)), "columns": manifest.columns, "rows": manifest.rows}
    write_atomically(folder / MANIFEST_NAME, (json.dumps(content, sort_keys=True, indent=1) + "\n").encode(), folder=made_in)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the complete store in `folder`; None where there is none.

    Raises:
        DataError: damaged, or of another schema version.
    """
    path = folder / MANIFEST_NAME
    content = read_json(path)
    if content is None:
        return None
    if isinstance(content, dict) and "shards" in content:
        raise DataError(f"expected a feature store at {folder}, found a shard folder: {path} lists shards; name the folder that mcdist embed wrote")
    plan = parse_plan(content, where=str(path))
    try:
        return _parse(content, plan=plan)
    except DAMAGE as error:
        raise damaged(str(path), error) from error


def _parse(content: dict[str, Any], *, plan: StorePlan) -> Manifest:
    columns = {
        check_name(table): {check_name(name): (_plain_dtype(dtype), _shape(shape)) for name, (dtype, shape) in found.items()}
        for table, found in content["columns"].items()
    }
    rows = tuple({check_name(table): int(num) for table, num in chunk.items()} for chunk in content["rows"])
    if len(rows) != len(plan.chunks) or any(chunk.keys() != columns.keys() or min(chunk.values(), default=0) < 0 for chunk in rows):
        raise ValueError(f"it lists {len(rows)} chunks, expected {len(plan.chunks)}, each with rows of {', '.join(columns)}")
    return Manifest(plan=plan, columns=columns, rows=rows)


def _plain_dtype(name: str) -> str:
    """Only numbers: arrays of Python objects would run code when they are loaded."""
    if numpy.dtype(name).kind not in "biuf":
        raise ValueError(f"{name!r} is not a type of numbers")
    return name


def _shape(shape: list[int]) -> tuple[int, ...]:
    if any(type(side) is not int or side < 0 for side in shape) or numpy.prod(shape, dtype=float) > MAX_ROW_VALUES:
        raise ValueError(f"{shape} is not a shape")
    return tuple(shape)

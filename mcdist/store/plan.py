"""Plan: what a feature store is made of, written before the first chunk. Two stores may replace each other where this agrees."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mcdist.errors import DAMAGE, DataError, reason
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically
from mcdist.store.names import PLAN_NAME, check_name

SCHEMA_VERSION = 1


Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """What goes into a store, as plain JSON values.

    `checkpoint`, `data` and `settings` determine every array. `chunk`: photos in a chunk. `aliases`: (table, column) that hold the same values as
    another column and are not written. `about`: facts for people that determine nothing.
    """

    checkpoint: Facts
    data: Facts
    settings: Facts
    num_photos: int
    chunk: int
    aliases: tuple[tuple[str, str, str], ...] = ()
    """(table, column, the column that holds its values)."""
    about: Facts = field(default_factory=dict)

    @property
    def chunks(self) -> list[range]:
        """The photos of each chunk, by index in the data set."""
        return [range(start, min(start + self.chunk, self.num_photos)) for start in range(0, self.num_photos, self.chunk)]

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name this checkpoint, data and settings."""
        return digest([self.checkpoint, self.data, self.settings])[:16]


def digest(values: Any) -> str:
    """SHA-256 of plain JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(found: StorePlan, *, wanted: StorePlan, at_least: tuple[str, ...] = ()) -> list[str]:
    """In words, where a store differs from the one that is wanted; none where it may serve.

    Settings named in `at_least` may be on without being wanted. One that the found store does not name is off there: it came later.
    """
    found_other = []
    for section in ("checkpoint", "data", "settings"):
        here, there = getattr(found, section), getattr(wanted, section)
        for name in sorted({*here, *there}):
            if here.get(name) != there.get(name) and not (name in at_least and not there.get(name)):
                found_other.append(f"{section}.{name} is {_short(here.get(name))}, expected {_short(there.get(name))}")
    return found_other


def write_plan(plan: StorePlan, *, folder: Path, made_in: Path | None = None) -> None:
    """Write `plan.json`, whole or not at all; it is made beside, or in `made_in`, of the same disk."""
    write_atomically(folder / PLAN_NAME, plan_json(plan).encode(), folder=made_in)


def plan_json(plan: StorePlan) -> str:
    """The plan as JSON text: sorted keys, no time stamp."""
    sections = {f"{section}_sha256": digest(getattr(plan, section)) for section in ("checkpoint", "data", "settings")}
    return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(plan), **sections}, sort_keys=True, indent=1) + "\n"


def read_plan(folder: Path) -> StorePlan | None:
    """The plan of the store in `folder`; None where none was begun there.

    Raises:
        DataError: damaged, or of another schema version.
    """
    path = folder / PLAN_NAME
    content = read_json(path)
    return None if content is None else parse_plan(content, where=str(path))


def read_json(path: Path) -> Any:
    """The values in a JSON file of a store; None where there is no such file.

    Raises:
        DataError: it cannot be read, or is not JSON.
    """
    try:
        content = parse_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the folder and its permissions") from error
    except ValueError as error:
        raise damaged(str(path), error) from error
    if content is None:
        raise damaged(str(path), ValueError("it holds null"))
    return content


def parse_plan(content: Any, *, where: str) -> StorePlan:
    """The plan in JSON values that were read; raises DataError where there is none."""
    try:
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise DataError(f"{where} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; delete the folder and run mcdist embed again")
        return StorePlan(
            checkpoint=dict(content["checkpoint"]),
            data=dict(content["data"]),
            settings=dict(content["settings"]),
            num_photos=_count(content["num_photos"], least=0),
            chunk=_count(content["chunk"], least=1),
            aliases=tuple((check_name(table), check_name(column), check_name(source)) for table, column, source in content["aliases"]),
            about=dict(content["about"]),
        )
    except DAMAGE as error:
        raise damaged(where, error) from error


def damaged(where: str, error: Exception) -> DataError:
    """The error of a file of a store that cannot be read."""
    return DataError(f"{where} is damaged ({reason(error)}); delete the store's folder and run the command that made it again (mcdist embed, mcdist train)")


def _count(value: Any, *, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is not a number of at least {least}")
    return value


def _short(value: Any) -> str:
    """Checksums by their beginning."""
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)

"""Groups on disk: a folder of plain arrays and a manifest, written whole, read with every check, and never unpickled."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, fields
from io import BytesIO
from math import isnan, nan
from pathlib import Path
from typing import Any, TypeVar

import numpy

from mcdist.errors import DAMAGE, ConfigError, DataError, MachineError, reason
from mcdist.groups.record import GraphFacts, Grouping, Groups, GroupSet, Source
from mcdist.groups.settings import GroupSettings
from mcdist.groups.stability import Choice, StabilityRow
from mcdist.json_text import parse_json

MANIFEST_NAME = "groups.json"
SCHEMA_VERSION = 2
_Kind = TypeVar("_Kind")

PLAIN_TYPES: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}

GROUP_TYPE, CONFIDENCE_TYPE = numpy.dtype("<i4"), numpy.dtype("<f4")


def write_groups(groups: Groups, *, folder: Path, made_in: Path | None = None) -> None:
    """Write `folder`, whole or not at all: it is made beside (or in `made_in`, of the same disk) and renamed. Groups that are there are replaced.

    Raises:
        ConfigError: the folder holds other files.
        MachineError: the disk refuses; what was there before is intact.
    """
    beside, aside = ((made_in or folder.parent) / f".{folder.name}.{name}.{os.getpid()}" for name in ("new", "old"))
    try:
        if folder.exists() and not (folder / MANIFEST_NAME).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} holds other files, expected an empty folder or groups; choose another one with --out")
        shutil.rmtree(beside, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        for found in groups.grouping.sets:
            for name, content in _arrays(found).items():
                _write(beside / name, content)
        _write(beside / MANIFEST_NAME, (json.dumps(_content(groups), sort_keys=True, indent=1, allow_nan=False) + "\n").encode())
        if folder.exists():
            folder.rename(aside)
        beside.rename(folder)
    except OSError as error:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        if isinstance(error, MachineError):
            raise
        raise MachineError(f"cannot write the groups {folder}: {error.strerror or error}; free some space or choose another folder with --out") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def read_groups(folder: Path) -> Groups:
    """The groups in `folder`.

    Raises:
        DataError: there are none, they are damaged, or of another schema version.
    """
    path = folder / MANIFEST_NAME
    try:
        content = parse_json(path.read_bytes())
        version = content["schema_version"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"expected groups at {folder} (its {MANIFEST_NAME}), found none; make them with: mcdist group STORE --out {folder}") from error
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the folder and its permissions") from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; run mcdist group again")
    try:
        return _parse(content, folder=folder)
    except DataError:
        raise
    except DAMAGE as error:
        raise _damaged(path, error) from error


def group_name(num_groups: int) -> str:
    """The file of the groups of one K."""
    return f"group_{num_groups:06d}.npy"


def confidence_name(num_groups: int) -> str:
    """The file of their confidences."""
    return f"confidence_{num_groups:06d}.npy"


def _arrays(found: GroupSet) -> dict[str, bytes]:
    return {
        group_name(found.num_groups): _npy(found.group.astype(GROUP_TYPE)),
        confidence_name(found.num_groups): _npy(found.confidence.astype(CONFIDENCE_TYPE)),
    }


def _npy(values: numpy.ndarray) -> bytes:
    buffer = BytesIO()
    numpy.lib.format.write_array(buffer, numpy.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _content(groups: Groups) -> dict[str, Any]:
    grouping = groups.grouping
    return {
        "schema_version": SCHEMA_VERSION,
        "source": asdict(groups.source),
        "settings": asdict(grouping.settings),
        "facts": asdict(grouping.facts),
        "choice": asdict(grouping.choice),
        "stability": [
            {name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(row).items()} for row in grouping.stability
        ],
        "sets": [_described(found) for found in grouping.sets],
    }


def _described(found: GroupSet) -> dict[str, Any]:
    spread = found.spread
    return {
        "num_groups": found.num_groups,
        "seed_agreement": found.seed_agreement,
        "sizes": spread.sizes,
        "num_ungrouped": spread.num_ungrouped,
        "entropy": spread.entropy,
        "largest_share": spread.largest_share,
        "signs_of_collapse": found.signs_of_collapse,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in _arrays(found).items()},
    }


def _parse(content: dict[str, Any], *, folder: Path) -> Groups:
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in content["settings"].items()}
    source = _record(Source, {**content["source"], "columns": tuple(content["source"]["columns"])})
    facts = _record(GraphFacts, content["facts"])
    sets = tuple(_read_set(one, folder=folder, num_objects=facts.num_objects) for one in content["sets"])
    rows = tuple(_record(StabilityRow, {name: nan if value is None else value for name, value in row.items()}) for row in content["stability"])
    choice, made = _record(Choice, content["choice"]), _record(GroupSettings, settings)
    if tuple(found.num_groups for found in sets) != made.num_groups or choice.num_groups not in made.num_groups or choice.num_neighbours not in made.neighbours:
        raise ValueError("its sets and its choice are not those that its settings ask for")
    grouping = Grouping(settings=made, facts=facts, sets=sets, stability=rows, choice=choice)
    return Groups(source=source, grouping=grouping)


def _record(kind: type[_Kind], content: dict[str, Any]) -> _Kind:
    """A dataclass of plain values; ValueError where one is of another type than its field, TypeError where the names differ."""
    for field in fields(kind):  # type: ignore[arg-type]
        value = content.get(field.name)
        allowed = PLAIN_TYPES.get(field.type)
        if allowed and (not isinstance(value, allowed) or isinstance(value, bool) != (field.type is bool)):
            raise ValueError(f"{field.name} is {value!r}")
    return kind(**content)


def _read_set(described: dict[str, Any], *, folder: Path, num_objects: int) -> GroupSet:
    num_groups = described["num_groups"]
    if type(num_groups) is not int or num_groups < 1:
        raise ValueError(f"{num_groups!r} is not a number of groups")
    sums = described["sha256"]
    group = _read_array(folder / group_name(num_groups), sha256=sums[group_name(num_groups)], dtype=GROUP_TYPE, num_objects=num_objects)
    confidence = _read_array(folder / confidence_name(num_groups), sha256=sums[confidence_name(num_groups)], dtype=CONFIDENCE_TYPE, num_objects=num_objects)
    if num_objects and not (group.min() >= -1 and group.max() < num_groups and confidence.min() >= 0 and confidence.max() <= 1):
        raise ValueError(f"the arrays of {num_groups} groups hold numbers outside their range")
    return GroupSet(num_groups=num_groups, group=group, confidence=confidence, seed_agreement=float(described["seed_agreement"]))


def _read_array(path: Path, *, sha256: str, dtype: numpy.dtype, num_objects: int) -> numpy.ndarray:
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its checksum is another one than the manifest's")
        values = numpy.lib.format.read_array(BytesIO(content), allow_pickle=False)
        if values.dtype != dtype or values.shape != (num_objects,):
            raise ValueError(f"it holds {values.dtype} {values.shape}, expected {dtype} {(num_objects,)}")
    except (OSError, *DAMAGE) as error:
        raise _damaged(path, error) from error
    return values


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({reason(error)}); run mcdist group again")

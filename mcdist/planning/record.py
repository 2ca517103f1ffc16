"""The record of a discovery: discover.json in its folder. What was asked for and planned at first holds when the same command is given again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcdist.errors import DAMAGE, ConfigError, DataError
from mcdist.json_text import parse_json
from mcdist.planning.costs import Costs
from mcdist.planning.plan import TrainingPlan
from mcdist.run_dir import write_atomically

RECORD_NAME = "discover.json"
TRIAL_NAME = "trial"
"""Where stages are tried out before there is a record; what a kill left of it is no reason to refuse the folder."""
FORMAT = "mcdist discover 1"

NUM_NAMED = 3
"""Photos that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`photos`: the folder, as an absolute path; `names`: the photos, and `listing`: a digest of that. `costs`: what was measured, None where nothing was."""

    photos: str
    num_photos: int
    listing: str
    names: tuple[str, ...]
    method: str
    overrides: tuple[str, ...]
    minutes: float | None
    plan: TrainingPlan
    costs: Costs | None


def listing_of(names: Sequence[str]) -> str:
    """A short digest of a list of photos."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


def write_record(folder: Path, record: Record) -> None:
    """Raises MachineError where the disk refuses."""
    content = {"format": FORMAT, **asdict(record), "plan": record.plan.to_json()}
    write_atomically(folder / RECORD_NAME, json.dumps(content, indent=1).encode() + b"\n")


def read_record(folder: Path) -> Record | None:
    """The record of a folder; None where there is none.

    Raises:
        ConfigError: the folder holds something else.
        DataError: the record is damaged.
    """
    path = folder / RECORD_NAME
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} must be a folder, it is a file; choose another")
    if not path.is_file():
        if folder.is_dir() and any(path.name != TRIAL_NAME and not path.name.startswith(f".{RECORD_NAME}.") for path in folder.iterdir()):
            raise ConfigError(f"--out {folder} holds something that mcdist discover did not begin; choose an empty folder or a new one, nothing was changed")
        return None
    try:
        return _record(parse_json(path.read_bytes()))
    except DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}); choose another --out, or remove the file and what is beside it") from error


def require_same(record: Record, *, photos: Path, names: Sequence[str], method: str | None, overrides: Sequence[str], minutes: float | None) -> None:
    """A discovery goes on with what it began with: raises ConfigError that says what is different. What was not given this time is as it was."""
    asked = {
        "PHOTOS": (record.photos, str(photos.resolve())),
        "--proposals": (record.method, method or record.method),
        "--minutes": (record.minutes, minutes or record.minutes),
        "the settings": (list(record.overrides), list(overrides or record.overrides)),
    }
    for what, (before, now) in asked.items():
        if before != now:
            raise ConfigError(f"this discovery began with {what} {before}, got {now}; give the same again or none, or begin another with --out")
    if listing_of(names) != record.listing:
        raise ConfigError(
            f"{photos} has other photos than the {record.num_photos:,} of which this discovery was begun{_difference(record.names, now=names)}; put them back, "
            "or begin another with --out (mcdist segment labels new photos with what is learnt already)"
        )


def _difference(before: Sequence[str], *, now: Sequence[str]) -> str:
    """Which photos are missing or new, the first few of each; a record of an earlier mcdist does not know."""
    if not before:
        return ""
    told = [("missing", sorted(set(before) - set(now))), ("new", sorted(set(now) - set(before)))]
    return "".join(f"; {what}: {_few(names)}" for what, names in told if names)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NUM_NAMED:,} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def _record(content: dict[str, Any]) -> Record:
    if content["format"] != FORMAT:
        raise ValueError(f"the format is {content['format']!r}, this mcdist reads {FORMAT!r}")
    plan = TrainingPlan(**{"choose_groups": False, **content["plan"], "num_groups": tuple(content["plan"]["num_groups"])})  # older ones did not choose
    costs = None if content["costs"] is None else Costs(**content["costs"])
    fields = ("photos", "num_photos", "listing", "method", "minutes")
    names = tuple(content.get("names", ()))  # absent in records of earlier versions
    return Record(**{name: content[name] for name in fields}, names=names, overrides=tuple(content["overrides"]), plan=plan, costs=costs)

"""Names file: a run's names on disk, small and readable. Two people who save at once: the second is told, and nothing of either is lost."""

import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcdist.catalogue.classes import BACKGROUND_NAME
from mcdist.catalogue.names import Names, Naming, Split, Step, clean_name
from mcdist.data.pictures.regular_file import open_regular
from mcdist.errors import DAMAGE, ConfigError, DataError, MachineError, OutdatedError
from mcdist.run_dir import write_atomically

FORMAT = "mcdist names 1"

BYTES_MAX = 64 * 2**20
"""A larger file is not read: it holds no names."""

_KEYS = {"format", "catalogue", "revision", "names", "merged", "splits", "rejected", "undo", "redo"}


class NamesFile:
    """`RUN/names.json`, of a catalogue with this key, so many clusters and objects, and points of `num_dims` numbers."""

    def __init__(self, path: Path, *, catalogue: str, num_clusters: int, num_objects: int, num_dims: int) -> None:
        self.path, self.num_dims = path, num_dims
        self.nothing = Names(catalogue=catalogue, num_clusters=num_clusters, num_objects=num_objects)
        """The names before the first one."""

    def read(self) -> Names:
        """The names as they were saved last; none where there is no file.

        Raises:
            DataError: the file is damaged, of another format, or of another catalogue.
            MachineError: it cannot be read.
        """
        try:
            with open_regular(self.path) as file:
                content = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return self.nothing
        except OSError as error:
            raise MachineError(f"cannot read {self.path}: {error.strerror}; check its permissions") from error
        if len(content) > BYTES_MAX:
            raise DataError(f"{self.path} must be a file of names of at most {BYTES_MAX >> 20} MiB, it is larger; move it away to start anew")
        try:
            found = json.loads(content, object_pairs_hook=_unique)
            self._require_ours(found)
            return _parse(found, nothing=self.nothing, num_dims=self.num_dims)
        except DataError:
            raise
        except (*DAMAGE, ConfigError) as error:
            why = str(error).split("\n")[0][:200] or type(error).__name__
            raise DataError(f"{self.path} is damaged ({why}); repair it, or move it away to start with no names") from error

    def stamp(self) -> tuple[int, ...] | None:
        """Something that differs whenever the file was replaced; None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def change(self, action: Callable[[Names], Names], *, revision: int) -> Names:
        """Do `action` to the names and save them; whoever else saves at the same time waits. Returns the names as they are then.

        Raises:
            OutdatedError: the names have another revision than the one that the action is meant for; nothing was changed.
            ConfigError: the action makes no sense.
            DataError, MachineError: as `read`, or the disk refuses.
        """
        with self._locked():
            known = self.read()
            if known.revision != revision:
                raise OutdatedError(_outdated(known.revision, meant_for=revision))
            changed = action(known)
            if changed is not known:
                write_atomically(self.path, names_text(changed).encode())
            return changed

    def _require_ours(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{self.path} must have the format “{FORMAT}”, it has none or another; move it away to start with no names")
        if found.get("catalogue") != self.nothing.catalogue:
            raise DataError(
                f"{self.path} has the names of another catalogue than this run has now (clusters were made again since); "
                "move it away to name the new clusters, or make the former ones again with the same settings"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, of all processes. The kernel lets go of the lock when its holder ends, however it ends."""
        path = self.path.with_name(f".{self.path.name}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise MachineError(f"cannot write in {self.path.parent}: {error.strerror}; names cannot be saved there") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _outdated(now: int, *, meant_for: int) -> str:
    if now > meant_for:
        num = "one change has" if now == meant_for + 1 else f"{now - meant_for:,} changes have"
        return f"{num} been saved since the names that you see (revision {meant_for:,}, now {now:,}); look at the newer names and make your change again"
    return f"the names that you see (revision {meant_for:,}) were replaced by older ones (revision {now:,}); look at those and make your change again"


def names_text(names: Names) -> str:
    """The file's text: an entry a line, the names first."""
    entries: dict[str, str] = {
        "format": _line(FORMAT),
        "catalogue": _line(names.catalogue),
        "revision": _line(names.revision),
        "names": _lines("{}", (f"{_line(str(cluster))}: {_line(name)}" for cluster, name in names.now.names.items())),
        "merged": _line({str(cluster): root for cluster, root in sorted(names.now.merged.items())}),
        "splits": _lines("[]", map(_line, map(_split_json, names.now.splits))),
        "rejected": _line(sorted(names.now.rejected)),
        "undo": _lines("[]", map(_line, map(_step_json, names.back))),
        "redo": _lines("[]", map(_line, map(_step_json, names.forward))),
    }
    return "{\n" + ",\n".join(f' "{key}": {text}' for key, text in entries.items()) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(brackets: str, entries: Iterator[str]) -> str:
    listed = list(entries)
    return f"{brackets[0]}\n  " + ",\n  ".join(listed) + f"\n {brackets[1]}" if listed else brackets


def _split_json(split: Split) -> dict[str, Any]:
    return {"cluster": split.cluster, "into": split.into, "centroids": split.centroids}


def _step_json(step: Step) -> dict[str, Any]:
    """Only what the step changes."""
    about: dict[str, Any] = {"what": step.what}
    if step.names is not None:
        about["names"] = [[cluster, name] for cluster, name in step.names.items()]
    if step.merged is not None:
        about["merged"] = sorted([cluster, root] for cluster, root in step.merged.items())
    if step.splits_kept is not None:
        about["splits_kept"] = step.splits_kept
    if step.splits_added:
        about["splits_added"] = [_split_json(split) for split in step.splits_added]
    if step.rejected_added:
        about["rejected_added"] = sorted(step.rejected_added)
    if step.rejected_removed:
        about["rejected_removed"] = sorted(step.rejected_removed)
    return about


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _parse(found: Mapping[str, Any], *, nothing: Names, num_dims: int) -> Names:
    """The names in JSON values; raises one of DAMAGE or ConfigError where they are no possible names."""
    if unknown := found.keys() - _KEYS:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    now = Naming(
        names={_number(cluster): _name(name) for cluster, name in found["names"].items()},
        merged={_number(cluster): _count(root) for cluster, root in found.get("merged", {}).items()},
        splits=tuple(_split(split, num_dims=num_dims) for split in found.get("splits", [])),
        rejected=_rows(found.get("rejected", []), nothing=nothing),
    )
    back, forward = (tuple(_step(step, nothing=nothing, num_dims=num_dims) for step in found.get(key, [])) for key in ("undo", "redo"))
    names = Names(
        catalogue=nothing.catalogue,
        num_clusters=nothing.num_clusters,
        num_objects=nothing.num_objects,
        revision=_count(found["revision"]),
        now=now,
        back=back,
        forward=forward,
    )
    _require_possible(names.now, nothing=nothing)
    for steps in (back, forward):  # whatever can be reached by undo and redo is checked too
        state = now
        for step in reversed(steps):
            state = step.apply(state)
            _require_possible(state, nothing=nothing)
    return names


def _require_possible(now: Naming, *, nothing: Names) -> None:
    """Clusters are split once and only if they exist, numbers are new, merges lead to an unmerged cluster, and only such clusters have names."""
    known, leaves = nothing.num_clusters, set(range(nothing.num_clusters))
    for split in now.splits:
        if split.cluster not in leaves:
            raise ValueError(f"there is no cluster {split.cluster} to split")
        if split.into != tuple(range(known, known + len(split.into))):
            raise ValueError(f"the parts of cluster {split.cluster} must be numbered from {known}")
        leaves = leaves - {split.cluster} | set(split.into)
        known += len(split.into)
    for cluster, root in now.merged.items():
        if cluster not in leaves or root not in leaves or root in now.merged:
            raise ValueError(f"cluster {cluster} cannot be merged into {root}")
    for cluster in now.names:
        if cluster not in leaves or cluster in now.merged:
            raise ValueError(f"there is no cluster {cluster} to name")


def _step(found: Mapping[str, Any], *, nothing: Names, num_dims: int) -> Step:
    if unknown := found.keys() - set(Step.__dataclass_fields__):
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    kept = found.get("splits_kept")
    return Step(
        what=_text(found["what"], max_length=1000),
        names={_count(cluster): _name(name) for cluster, name in found["names"]} if "names" in found else None,
        merged={_count(cluster): _count(root) for cluster, root in found["merged"]} if "merged" in found else None,
        splits_kept=None if kept is None else _count(kept),
        splits_added=tuple(_split(split, num_dims=num_dims) for split in found.get("splits_added", [])),
        rejected_added=_rows(found.get("rejected_added", []), nothing=nothing),
        rejected_removed=_rows(found.get("rejected_removed", []), nothing=nothing),
    )


def _split(found: Mapping[str, Any], *, num_dims: int) -> Split:
    into = tuple(_count(child) for child in found["into"])
    centroids = tuple(tuple(float(value) for value in row) for row in found["centroids"])
    if len(into) != len(centroids) or len(into) < 2 or any(len(row) != num_dims or not all(map(math.isfinite, row)) for row in centroids):
        raise ValueError(f"a split must have two or more parts, each with a centroid of {num_dims} finite numbers")
    return Split(cluster=_count(found["cluster"]), into=into, centroids=centroids)


def _rows(found: list[Any], *, nothing: Names) -> frozenset[int]:
    rows = frozenset(_count(row) for row in found)
    if max(rows, default=-1) >= nothing.num_objects:
        raise ValueError(f"there is no object {max(rows)}")
    return rows


def _name(found: Any) -> str:
    name = clean_name(_text(found, max_length=1000))
    if not name or (name != found and name != BACKGROUND_NAME):
        raise ValueError(f"{found[:100]!r} is not a name")
    return name


def _text(found: Any, *, max_length: int) -> str:
    if not isinstance(found, str) or len(found) > max_length:
        raise ValueError("a text is missing or too long")
    return found


def _number(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) < 10 and str(int(key)) == key):
        raise ValueError(f"{key[:100]!r} is not the number of a cluster")
    return int(key)


def _count(found: Any) -> int:
    if type(found) is not int or not 0 <= found < 2**53:
        raise ValueError(f"{str(found)[:100]!r} is not a number of 0 or more")
    return found

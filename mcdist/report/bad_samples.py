"""bad_samples.jsonl: which samples could not be read, one JSON object a line: step, epoch, shard, key, index and reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcdist.errors import DataError, MachineError
from mcdist.run_dir import write_atomically


class BadSamplesFile:
    """The open end of bad_samples.jsonl. No file is made before there is a bad sample."""

    def __init__(self, path: Path, *, after_step: int) -> None:
        """Lines of steps after `after_step` are cut away: a run that goes on takes those steps again."""
        self._path = path
        listed = read_bad_samples(path)
        kept = [line for line in listed if line["step"] <= after_step]
        if len(kept) != len(listed):
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def write(self, step: int, lines: Sequence[str]) -> None:
        """Append the objects that `lines` hold, each with its step; MachineError where the disk refuses."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps({"step": step, **json.loads(line)}) + "\n" for line in lines))
        except OSError as error:
            raise MachineError(f"cannot write {self._path}: {error.strerror}; free some space or choose another run.dir") from error


def read_bad_samples(path: Path) -> list[dict[str, Any]]:
    """Every whole line; no file gives none, and a torn last line is left out.

    Raises:
        DataError: a whole line is no such object.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return [_parsed(line, where=f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _parsed(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
        if type(content["step"]) is not int:
            raise TypeError("step is no whole number")
        return {"step": content["step"], **{name: content[name] for name in ("epoch", "shard", "key", "index", "reason")}}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{where} must be one bad sample as JSON, got {line[:60]!r}; remove that line or the file") from error

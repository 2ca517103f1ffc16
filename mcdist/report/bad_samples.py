"""bad_samples.jsonl: which samples could not be read, one JSON object a line: step, epoch, shard, key, index and reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from mcdist.errors import DataError, MachineError
from mcdist.json_text import parse_json
from mcdist.run_dir import open_in_place


class BadSamplesFile:
    """The open end of bad_samples.jsonl. No file is made before there is a bad sample."""

    def __init__(self, path: Path, *, after_step: int, folder: Path | None = None) -> None:
        """Lines of steps after `after_step` are cut away: a run that continues takes those steps again.

        It is a new file each time, made in `folder` (of the same disk) where one is given: whoever still has the earlier one open no longer
        writes to this one.

        Raises:
            DataError: a whole line is damaged.
            MachineError: the file cannot be written.
        """
        self._path, self._folder = path, folder
        self._file: TextIO | None = None
        if path.exists():
            kept = [line for line in read_bad_samples(path) if line["step"] <= after_step]
            self._open("".join(json.dumps(line) + "\n" for line in kept).encode())

    def write(self, step: int, lines: Sequence[str]) -> None:
        """Append the objects that `lines` hold, each with its step; MachineError where the disk refuses."""
        file = self._file or self._open(b"")
        try:
            file.write("".join(json.dumps({"step": step, **parse_json(line)}) + "\n" for line in lines))
            file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        if self._file is not None:
            self._file.close()

    def _open(self, content: bytes) -> TextIO:
        try:
            self._file = open_in_place(self._path, content, folder=self._folder)
        except OSError as error:
            raise self._refused(error) from error
        return self._file

    def _refused(self, error: OSError) -> MachineError:
        return MachineError(f"cannot write {self._path}: {error.strerror}; free some space or choose another run.dir")


def read_bad_samples(path: Path) -> list[dict[str, Any]]:
    """Every whole line; none where there is no file. A torn last line is left out.

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
        content = parse_json(line)
        if type(content["step"]) is not int:
            raise TypeError("step is not a whole number")
        return {"step": content["step"], **{name: content[name] for name in ("epoch", "shard", "key", "index", "reason")}}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} must be one bad sample as JSON, got {line[:60]!r}; remove that line or the file") from error

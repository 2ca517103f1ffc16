"""metrics.jsonl: the truth of a run, one Record a line.

A killed run leaves records beyond its last checkpoint and perhaps half a line; both are cut away when the run continues, since it replays those steps.
JSON has no NaN: a value that is not finite is written as null and read back as nan, infinities too.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from mcdist.errors import DataError, MachineError
from mcdist.json_text import parse_json
from mcdist.records import Record
from mcdist.run_dir import open_in_place


class MetricsFile:
    """The open end of metrics.jsonl. Lines reach the operating system whole, at every `write`."""

    def __init__(self, path: Path, *, after_step: int, folder: Path | None = None) -> None:
        """Open `path` to append what comes after `after_step`; later lines and a torn last one are cut away atomically.

        It is a new file each time, made in `folder` (of the same disk) where one is given: who still has the earlier one open no longer writes here.

        Raises:
            DataError: a whole line is damaged.
            MachineError: the file cannot be written.
        """
        self._path = path
        kept = _lines_until(path, step=after_step)
        try:
            self._file = open_in_place(path, kept, folder=folder)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def write(self, records: Iterable[Record]) -> None:
        """Append the records and flush; MachineError where the disk refuses."""
        lines = "".join(_to_line(record) for record in records)
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def __enter__(self) -> "MetricsFile":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()


def read_metrics(path: Path) -> list[Record]:
    """Every whole line as a Record, in order; none where there is no file. A last line without its line break is still being written and is left out.

    Raises:
        DataError: a whole line is no Record; the message names the line.
    """
    return [_from_line(line, where=f"{path}:{number}") for number, line in enumerate(_whole_lines(path), start=1)]


def _whole_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read the metrics {path}: {error.strerror}; check the path and its permissions") from error


def _lines_until(path: Path, *, step: int) -> bytes:
    lines = _whole_lines(path)
    return b"".join(line + b"\n" for number, line in enumerate(lines, start=1) if _from_line(line, where=f"{path}:{number}").step <= step)


def _to_line(record: Record) -> str:
    value = record.value if math.isfinite(record.value) else None
    return json.dumps({"step": record.step, "name": record.name, "value": value, "unit": record.unit}, allow_nan=False) + "\n"


def _from_line(line: bytes, *, where: str) -> Record:
    try:
        content = parse_json(line)
        step, name, value, unit = (content[key] for key in ("step", "name", "value", "unit"))
        number = math.nan if value is None else value
        if type(step) is not int or not isinstance(name, str) or not isinstance(unit, str) or type(number) not in (int, float):
            raise TypeError("a field of the wrong type")
        return Record(step=step, name=name, value=float(number), unit=unit)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{where} must be one record (step, name, value, unit) as JSON, got {line[:60]!r}; remove that line or the file") from error


def _cannot_write(path: Path, error: OSError) -> MachineError:
    return MachineError(f"cannot write the metrics {path}: {error.strerror}; free some space or choose another run.dir")

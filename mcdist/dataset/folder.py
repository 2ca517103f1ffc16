"""The folder of an export: made beside its place and renamed when it is whole, so that an earlier export is there until the new one is."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from mcdist.building.folder.out import alone_in, make_folder
from mcdist.errors import ConfigError, MachineError

MARK_NAME = "mcdist_dataset.json"
"""In every export: what it was made of. A folder without it is not ours to replace."""


def check_replaceable(out: Path) -> None:
    """Raises ConfigError where `out` is something that no export made, and is not empty."""
    if not out.name or out.name == "..":
        raise ConfigError(f"--out {out} must be the name of a folder to make; give one, such as --out dataset")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"--out {out} must be a folder of its own, it is a file or a link; choose another")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK_NAME).is_file():
        raise ConfigError(f"--out {out} holds something that mcdist export-dataset did not write; choose another folder, nothing was changed")


def changed_since(out: Path) -> list[str]:
    """Files of an export that were changed or added after it: those that are newer than its mark, which it writes last."""
    written_ns = (out / MARK_NAME).stat().st_mtime_ns
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir() and path.lstat().st_mtime_ns > written_ns)


@contextmanager
def replaced(out: Path, *, say: Callable[[str], None]) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends well, and is removed when it does not.

    An earlier export in which somebody changed or added a file (labels that were corrected by hand) is kept beside, and `say` hears where.

    Raises:
        ConfigError: `out` is something else.
        HeldError: another export writes there.
        MachineError: no space, no permission; the earlier export is untouched.
    """
    check_replaceable(out)
    beside, before = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    make_folder(beside)
    with alone_in(beside):
        try:
            _take_back(before, out=out)  # of an export that was killed between the two renames below
            shutil.rmtree(before, ignore_errors=True)
            _empty(beside)
            yield beside
            changed = changed_since(out) if out.is_dir() and any(out.iterdir()) else []
            if out.is_dir():
                out.rename(before)
            beside.rename(out)
            if changed:
                kept = _free_name(out)
                before.rename(kept)
                say(f"the earlier export had files that were changed or added since ({len(changed)}, {changed[0]} the first), so it is kept as {kept}")
        except OSError as error:
            if isinstance(error, MachineError):
                raise
            raise MachineError(
                f"cannot write the data set {out}: {error.strerror or error}; free some space or choose another --out; what was there before is untouched"
            ) from error
        finally:
            _take_back(before, out=out)
            shutil.rmtree(before, ignore_errors=True)
            shutil.rmtree(beside, ignore_errors=True)


def _take_back(before: Path, *, out: Path) -> None:
    if before.is_dir() and not out.is_dir():
        before.rename(out)


def _free_name(out: Path) -> Path:
    return next(path for number in count(1) if not (path := out.with_name(f"{out.name}_earlier_{number}")).exists())


def _empty(folder: Path) -> None:
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()

"""Snapshot: the code as it is at submission, copied into the run folder, so that a job that waits or is requeued runs what was submitted."""

import shutil
import subprocess
from pathlib import Path

from mcdist.errors import MachineError


def take_snapshot(source: Path, *, to: Path) -> Path:
    """Copy mcdist at `source` as it is now; in a clone what git tracks or does not ignore, changes included.

    Raises:
        MachineError: the disk refuses.
    """
    try:
        for name in snapshot_files(source):
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
    except OSError as error:
        raise MachineError(f"cannot copy the code to {to}: {error.strerror}; free some space or choose another run.dir") from error
    return to


def snapshot_files(source: Path) -> list[str]:
    """The files of mcdist and its presets below `source`, relative to it: in a clone what git knows, else every file that is not a cache.

    An installed mcdist has its presets inside; a folder `configs` beside it belongs to somebody else.
    """
    folders = ("mcdist",) if (source / "mcdist" / "configs").is_dir() else ("mcdist", "configs")
    listed = _git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders)
    if listed is not None:
        return sorted(name for name in set(listed.split("\0")) if name and (source / name).is_file())
    paths = [path.relative_to(source) for folder in folders for path in (source / folder).rglob("*") if path.is_file()]
    return sorted(str(path) for path in paths if "__pycache__" not in path.parts)


def commit_of(source: Path) -> str:
    """The commit that is checked out, with a + where files were changed; "" outside a git checkout."""
    return (_git(source, "describe", "--always", "--dirty=+", "--abbrev=12") or "").strip()


def _git(source: Path, *arguments: str) -> str | None:
    if not (source / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None

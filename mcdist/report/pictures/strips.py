"""Strips: a folder of pictures that each evaluation replaces."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mcdist.errors import MachineError
from mcdist.run_dir import write_atomically


def write_strips(strips: Iterable[tuple[str, bytes]], *, folder: Path, what: str, strips_in: Callable[[Path], list[Path]]) -> list[Path]:
    """Write (file name, PNG) of each into `folder`, which is made; then remove what `strips_in` finds of an earlier evaluation. Returns the paths written.

    Raises:
        MachineError: the disk refuses; `what` says of what the folder is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot create the folder of {what} {folder}: {error.strerror}; free some space or choose another run.dir") from error
    written = []
    for name, content in strips:
        written.append(folder / name)
        write_atomically(written[-1], content)
    for stale in strips_in(folder):
        if stale not in written:
            stale.unlink()
    return written

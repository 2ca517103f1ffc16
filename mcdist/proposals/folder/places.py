"""Places: where proposals may be written, and what is said where the disk refuses."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcdist.errors import ConfigError, MachineError


def check_apart(photos: Path, *, out: Path, confidence: Path | None) -> None:
    """Masks in the folder of photos would be taken for photos by the next run, and confidence maps have the names of photos and masks.

    Raises:
        ConfigError: one of the folders is another one, or in it.
    """
    _check(out, option="--out", other=photos, what="the folder of photos")
    if confidence is not None:
        _check(confidence, option="--confidence", other=photos, what="the folder of photos")
        _check(confidence, option="--confidence", other=out, what="--out")


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """An OSError inside the block is a MachineError that says what to do."""
    try:
        yield
    except MachineError:
        raise
    except OSError as error:
        reason = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise MachineError(f"cannot write in {folder}: {reason}; free some space and run the same command again: finished photos are kept") from error


def _check(folder: Path, *, option: str, other: Path, what: str) -> None:
    one, two = folder.resolve(), other.resolve()
    if one == two or two in one.parents or one in two.parents:
        raise ConfigError(f"{option} {folder} and {what} {other} must be apart, one is in the other or the same; choose another {option}")

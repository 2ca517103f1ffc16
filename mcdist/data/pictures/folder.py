"""Pictures in a folder: their relative paths in order, and which of them would share the name of a mask. No pixel is read."""

import os
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mcdist.errors import DataError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
OTHER_PICTURE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
"""Pictures that shards do not hold: listed as skipped with the reason, not passed over in silence."""


def pictures_in(folder: Path) -> list[str]:
    """Relative paths of the pictures below `folder`, in path order; hidden files and folders are left out, linked folders are followed.

    Paths are text, for there may be a million.

    Raises:
        DataError: a folder cannot be read.
    """
    found: list[str] = []
    above = {str(folder): frozenset({_identity(folder)})}
    """The folders that each folder still to be walked is in: a link to one of them would never end."""
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        own = above.pop(parent)
        identities = {name: _identity(Path(parent, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, identity in identities.items() if identity not in own]
        above.update((os.path.join(parent, name), own | {identities[name]}) for name in folders)  # noqa: PTH118  # as os.walk names them
        inside = os.path.relpath(parent, folder).replace(os.sep, "/")
        found.extend(name if inside == "." else f"{inside}/{name}" for name in files if is_picture(name))
    return sorted(found)


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        _refuse(error)
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"cannot read the folder {error.filename} ({error.strerror}); check its permissions, or move it elsewhere") from error


def is_picture(name: str) -> bool:
    """Whether a file name is one of a picture, of a format that shards hold or not."""
    return name.lower().endswith(PHOTO_SUFFIXES + OTHER_PICTURE_SUFFIXES) and not PurePosixPath(name).name.startswith(".")


def check_folder(folder: Path, *, what: str) -> None:
    """Raises DataError where `folder` is none."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"expected the folder of {what} at {folder}, found {found} there; check the path")


def stem_of(name: str) -> str:
    """A relative path without its suffix."""
    return PurePosixPath(name).with_suffix("").as_posix()


def named_twice(names: list[str]) -> dict[str, str]:
    """Photos whose path without suffix another photo before them has: which of the two a mask belongs to cannot be known. Name -> the earlier name."""
    first: dict[str, str] = {}
    return {name: first[stem_of(name)] for name in names if first.setdefault(stem_of(name), name) != name}


def is_text(name: str) -> bool:
    """Whether a file name can be written as UTF-8; names on disk may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Pictures in a folder: their relative paths in order, and which of them cannot be told apart by a mask's name. Reads no pixel."""

import os
from pathlib import Path, PurePosixPath

from mcdist.errors import DataError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
OTHER_PICTURE_SUFFIXES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")
"""Pictures that shards do not hold: listed as skipped with the reason, not passed over in silence."""


def pictures_in(folder: Path) -> list[str]:
    """Relative paths of the pictures below `folder`, in path order; hidden files and folders are none. Text, for there may be a million."""
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(parent, folder).replace(os.sep, "/")
        found.extend(name if inside == "." else f"{inside}/{name}" for name in files if is_picture(name))
    return sorted(found)


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

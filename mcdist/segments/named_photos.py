"""Photos to segment: what a person named on the command line, as a root folder and relative names below it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcdist.data.pictures.folder import PHOTO_SUFFIXES, check_folder, is_text, pictures_in
from mcdist.errors import DataError

NAME_BYTES_MAX = 230
"""Of a file's name: what is written beside it adds a suffix and a number, and no disk takes more than 255."""


@dataclass(frozen=True, slots=True)
class NamedPhotos:
    """`names`: paths below `root`, each once, in path order. Text, for there may be a million. `refused`: (name, why) of those that cannot be segmented."""

    root: Path
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    def path(self, name: str) -> str:
        """Where a photo is."""
        return os.path.join(self.root, name)  # noqa: PTH118  # text


def named_photos(given: Sequence[Path]) -> NamedPhotos:
    """The photos in folders, nested or not, and single ones. Names are below the one folder, or below the nearest one that holds all that was given.

    Raises:
        DataError: nothing is there, or no photo.
    """
    missing = next((path for path in given if not path.exists()), None)
    if missing is not None:
        raise DataError(f"expected a photo or a folder of photos at {missing}, found nothing there; check the path")
    folders = [path if path.is_dir() else path.parent for path in map(Path.absolute, given)]
    root = Path(os.path.commonpath(folders))
    found: set[str] = set()
    for path in map(Path.absolute, given):
        inside = os.path.relpath(path, root).replace(os.sep, "/")
        if path.is_dir():
            check_folder(path, what="photos")
            found.update(name if inside == "." else f"{inside}/{name}" for name in pictures_in(path))
        else:
            found.add(inside)
    if not found:
        raise DataError(f"expected photos ({', '.join(PHOTO_SUFFIXES)}) in {', '.join(map(str, given))}, found none; give the folder that holds them")
    refused = {name: why for name in found if (why := _refusal(name))}
    return NamedPhotos(root, tuple(sorted(found - refused.keys())), tuple(sorted(refused.items())))


def _refusal(name: str) -> str:
    if not is_text(name):
        return "has a name that is no UTF-8; rename it"
    if len(name.rpartition("/")[2].encode()) > NAME_BYTES_MAX:
        return f"has a name of more than {NAME_BYTES_MAX} bytes, beside which nothing can be written; rename it"
    return ""

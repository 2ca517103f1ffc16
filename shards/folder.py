"""A plain folder of photos beside a folder of masks: files belong together by their path without suffix."""

from pathlib import Path

from mcdist.errors import DataError
from shards.file_source import FileSource, Treatment, file_item
from shards.source import safe_keys

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
OTHER_PICTURE_SUFFIXES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")
"""Pictures that shards do not hold: listed as skipped with the reason, not passed over in silence."""


def folder_source(photos: Path, *, masks: Path, labels: Path | None, treatment: Treatment) -> FileSource:
    """Every picture below `photos` in path order, with `masks/SAME/PATH.png` and `labels/SAME/PATH.png`.

    Raises:
        DataError: a folder is missing, or there is no photo in it.
    """
    _check_folder(photos, what="photos")
    _check_folder(masks, what="masks")
    if labels is not None:
        _check_folder(labels, what="labels")
    paths = _pictures_in(photos)
    if not paths:
        raise DataError(f"expected photos ({', '.join(PHOTO_SUFFIXES)}) in {photos}, found none; give the folder that holds them")
    stems = [path.relative_to(photos).with_suffix("").as_posix() for path in paths]
    items = tuple(
        file_item(
            key,
            photo=path.relative_to(photos).as_posix(),
            photo_path=path,
            mask_path=masks / f"{stem}.png",
            labels_path=None if labels is None else labels / f"{stem}.png",
        )
        for key, stem, path in zip(safe_keys(stems), stems, paths, strict=True)
    )
    return FileSource(name="folder", items=items, proposals=masks.name, treatment=treatment, own_options=(("labels", labels.name if labels else None),))


def _pictures_in(folder: Path) -> list[Path]:
    wanted = PHOTO_SUFFIXES + OTHER_PICTURE_SUFFIXES
    found = [path for path in folder.rglob("*") if path.suffix.lower() in wanted and path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _check_folder(folder: Path, *, what: str) -> None:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"expected the folder of {what} at {folder}, found {found} there; check the path")

"""Folders of photos beside folders of masks: files belong together by their path without suffix. A tree's first folder is the class of its photos."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from mcdist.building.pictures.facts import facts_of_masks, text_of
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, problem_item, safe_keys, strange_item
from mcdist.building.sources.files import FileSource, file_item
from mcdist.data.pictures.folder import PHOTO_SUFFIXES, check_folder, is_text, named_twice, pictures_in, stem_of
from mcdist.errors import DataError

About = tuple[tuple[str, str], ...]


def folder_source(photos: Path, *, masks: Path, labels: Path | None, treatment: Treatment) -> FileSource:
    """Every picture below `photos` in path order, with `masks/SAME/PATH.png` and `labels/SAME/PATH.png`.

    Raises:
        DataError: a folder is missing, or there is no photo in it.
    """
    return _source("folder", photos, masks=masks, labels=labels, treatment=treatment, about=lambda name: ())


def tree_source(photos: Path, *, masks: Path, labels: Path | None, treatment: Treatment) -> FileSource:
    """As `folder_source`, for photos in class folders (ImageNet's layout): the folder's name is kept in the sample's json and used by nothing.

    Raises:
        DataError: a folder is missing, or no photo is in a class folder.
    """
    source = _source("tree", photos, masks=masks, labels=labels, treatment=treatment, about=lambda name: (("class_folder", PurePosixPath(name).parts[0]),))
    if all("/" not in item.photo for item in source.items):
        raise DataError(f"expected class folders with photos in {photos}, found photos without; for such a folder: mcdist shards build folder")
    return source


def twice_problem(photo: str, *, earlier: str) -> Item:
    """The item of a photo of `named_twice`."""
    return problem_item(photo, problem=f"{photo} and {earlier} differ in their suffix only, so that one mask would belong to both; rename one")


def _source(name: str, photos: Path, *, masks: Path, labels: Path | None, treatment: Treatment, about: Callable[[str], About]) -> FileSource:
    check_folder(photos, what="photos")
    check_folder(masks, what="masks")
    if labels is not None:
        check_folder(labels, what="labels")
    found = pictures_in(photos)
    if not found:
        raise DataError(f"expected photos ({', '.join(PHOTO_SUFFIXES)}) in {photos}, found none; give the folder that holds them")
    items = tuple(_items(found, photos=photos, masks=masks, labels=labels, about=about))
    method = text_of(facts_of_masks(masks))
    return FileSource(name=name, items=items, proposals=method, treatment=treatment, own_options=(("labels", labels.name if labels else None),))


def _items(names: list[str], *, photos: Path, masks: Path, labels: Path | None, about: Callable[[str], About]) -> Iterator[Item]:
    twice = named_twice(names)
    single = [name for name in names if name not in twice and is_text(name)]
    for key, name in zip(safe_keys([stem_of(name) for name in single]), single, strict=True):
        yield file_item(
            key,
            photo=name,
            photo_place=f"{photos}/{name}",
            mask_place=f"{masks}/{stem_of(name)}.png",
            labels_place=None if labels is None else f"{labels}/{stem_of(name)}.png",
            about=about(name) if "/" in name else (),
        )
    yield from (strange_item(name) for name in names if not is_text(name))
    yield from (twice_problem(name, earlier=earlier) for name, earlier in twice.items() if is_text(name))

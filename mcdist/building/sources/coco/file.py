"""COCO files, read once without being held: which photos there are, and where in the file each photo's annotations are.

An annotation stays in its file. A photo keeps the bytes' places (16 bytes an annotation), a worker reads and parses those of its own photos: nothing
that grows with the data set travels to it, and no second copy of the annotations is written.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from mcdist.building.source import hostile
from mcdist.building.sources.coco.json_stream import Element, json_elements, read_element
from mcdist.errors import DataError

SECTIONS = frozenset({"images", "annotations", "categories", ""})
PLACES = numpy.dtype([("offset", "<i8"), ("size", "<i8")])

Owner = int | str
"""What an annotation names its photo by: COCO's image id; a file name in some files of proposals."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One entry of `images`; width and height in px are None where the file has none."""

    id: int
    file_name: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO file. `places_of` returns the packed places of a photo's annotations; `problems` are pairs of (what, sentence) about the file itself."""

    path: Path
    digest: str
    images: tuple[CocoImage, ...]
    category_of: dict[int, tuple[str, bool]]
    """Category id -> (name, whether it is a thing)."""
    places_of: dict[Owner, bytes]
    problems: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """Name and content, as the manifest keeps them."""
        return f"{self.path.name} {self.digest}"


@dataclass(slots=True)
class _Found:
    images: list[CocoImage] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)
    file_names: set[str] = field(default_factory=set)
    categories: dict[int, tuple[str, bool]] = field(default_factory=dict)
    number_of: dict[Owner, int] = field(default_factory=dict)
    owners: array = field(default_factory=lambda: array("l"))
    offsets: array = field(default_factory=lambda: array("q"))
    sizes: array = field(default_factory=lambda: array("q"))
    problems: list[tuple[str, str]] = field(default_factory=list)


def read_coco(path: Path, *, results: bool = False) -> CocoFile:
    """Read a COCO file (an object with `images`), or with `results` one of results (an array of objects with `image_id` or `file_name`).

    Raises:
        DataError: no such file, no JSON, or neither of the two.
    """
    found = _Found()
    num_elements = 0
    for element in json_elements(path, sections=SECTIONS):
        num_elements += 1
        if element.section == "images":
            _take_image(element, found=found, path=path)
        elif element.section == "categories":
            _take_category(element, found=found, path=path)
        elif (element.section == "") == results:
            _take_annotation(element, found=found, path=path)
    if results:
        if found.images or (num_elements and not found.offsets and not found.problems):
            raise DataError(f"expected proposals in {path}, a JSON array of objects with image_id or file_name and segmentation; it is an object, not an array")
    elif not found.images and not found.problems:
        raise DataError(f"expected a COCO file with `images` at {path}, found none in it; give an instances, panoptic or image_info file")
    digest = _digest_of(path)
    return CocoFile(path, digest, tuple(found.images), found.categories, _grouped(found), tuple(found.problems))


def read_annotations(path: Path, *, places: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The annotations at `places`, each with its name for messages.

    Raises:
        DataError: the file changed since it was planned from.
    """
    try:
        with path.open("rb") as file:
            for offset, size in numpy.frombuffer(places, dtype=PLACES).tolist():
                value = read_element(file, offset=offset, size=size)
                yield f"{path.name}, annotation {value.get('id', f'at byte {offset:,}')}", value
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not what it was when the build began ({error}); run the same command again") from error


def _take_image(element: Element, *, found: _Found, path: Path) -> None:
    image = element.value if isinstance(element.value, dict) else {}
    number, name, size = image.get("id"), image.get("file_name"), (image.get("width"), image.get("height"))
    where = f"{path.name}, image {number if type(number) is int else f'at byte {element.offset:,}'}"
    if type(number) is not int or not isinstance(name, str):
        found.problems.append((where, f"{where}: expected an image with a whole `id` and a `file_name`, got {str(element.value)[:80]}; correct the file"))
    elif hostile(name):
        found.problems.append((where, f"{where}: the file name {name!r} leads out of the folder of images; give relative names without .."))
    elif any(side is not None and (type(side) is not int or side < 1) for side in size):
        found.problems.append((where, f"{where} ({name}): width and height are {size}, expected whole numbers above 0; correct the file"))
    elif number in found.ids:
        found.problems.append((where, f"{where} ({name}): this id is already that of another image; keep one of the two"))
    elif name in found.file_names:
        found.problems.append((where, f"{where} ({name}): this file name already has another id; keep one of the two"))
    else:
        found.ids.add(number)
        found.file_names.add(name)
        found.images.append(CocoImage(number, name, *size))


def _take_category(element: Element, *, found: _Found, path: Path) -> None:
    category = element.value if isinstance(element.value, dict) else {}
    number = category.get("id")
    if type(number) is not int:
        where = f"{path.name}, category at byte {element.offset:,}"
        found.problems.append((where, f"{where}: expected a category with a whole `id`, got {str(element.value)[:80]}; correct the file"))
        return
    found.categories[number] = (str(category.get("name", number)), bool(category.get("isthing", 1)))


def _take_annotation(element: Element, *, found: _Found, path: Path) -> None:
    annotation = element.value if isinstance(element.value, dict) else {}
    owner = annotation.get("image_id", annotation.get("file_name"))
    if not isinstance(owner, int | str):
        where = f"{path.name}, annotation {annotation.get('id', f'at byte {element.offset:,}')}"
        found.problems.append((where, f"{where}: expected an object with image_id or file_name, got {str(element.value)[:80]}; correct the file"))
        return
    found.owners.append(_number(owner, found=found))
    found.offsets.append(element.offset)
    found.sizes.append(element.size)


def _number(owner: Owner, *, found: _Found) -> int:
    return found.number_of.setdefault(owner, len(found.number_of))


def _grouped(found: _Found) -> dict[Owner, bytes]:
    """Packed places by owner, in file order."""
    places = numpy.empty(len(found.offsets), dtype=PLACES)
    places["offset"], places["size"] = found.offsets, found.sizes
    order = numpy.argsort(numpy.asarray(found.owners, dtype=numpy.int64), kind="stable")
    places = places[order]
    ends = numpy.cumsum(numpy.bincount(numpy.asarray(found.owners, dtype=numpy.int64), minlength=len(found.number_of)))
    firsts = [0, *ends.tolist()][:-1]
    return {owner: places[first:end].tobytes() for owner, first, end in zip(found.number_of, firsts, ends.tolist(), strict=True) if end > first}


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def orphans(file: CocoFile, *, known: Iterable[Owner]) -> Iterator[tuple[str, str]]:
    """(what, sentence) for each photo that annotations name and no list has."""
    names = set(known)
    for owner, places in file.places_of.items():
        if owner not in names:
            num = len(places) // PLACES.itemsize
            what = f"{file.path.name}, annotations of image {owner}"
            yield what, f"{what}: {num} annotations, and there is no such image; take them away or add the image"

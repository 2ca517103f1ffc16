"""FileSource: photos, masks and labels in files or tars; VOC, folders, trees and tars are all lists of such triples."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from numpy import ndarray

from mcdist.building.pictures.mask import Instances, instances_of, labels_of, read_values, refuse_soft
from mcdist.building.pictures.photo import PhotoFile, read_photo
from mcdist.building.pictures.place import Place, size_and_time
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, Option, Photo
from mcdist.errors import DataError
from mcdist.json_text import parse_json


@dataclass(frozen=True, slots=True)
class FileItem(Item):
    """One photo with its mask and, where there is ground truth, its labels. `about` joins the sample's json. A missing file is reported when it is made."""

    photo_place: Place = ""
    mask_place: Place = ""
    labels_place: Place | None = None
    about: tuple[tuple[str, str], ...] = ()


def file_item(
    key: str, *, photo: str, photo_place: Place, mask_place: Place, labels_place: Place | None = None, about: tuple[tuple[str, str], ...] = ()
) -> FileItem:
    """An item whose identity is the sizes of its files and whose state their time stamps; "-" where a file is missing."""
    found = [size_and_time(place) for place in (photo_place, mask_place, labels_place) if place is not None]
    return FileItem(
        key=key,
        photo=photo,
        identity="/".join(size for size, _ in found),
        state="/".join(time for _, time in found),
        photo_place=photo_place,
        mask_place=mask_place,
        labels_place=labels_place,
        about=about,
    )


@dataclass(frozen=True, slots=True)
class FileSource:
    """The Source of files: `proposals` names the masks' method in every sample; a JSON object is taken apart into its facts."""

    name: str
    items: tuple[Item, ...]
    proposals: str
    treatment: Treatment
    own_options: tuple[tuple[str, Option], ...] = ()

    @property
    def options(self) -> dict[str, Option]:
        """The treatment's and the data set's own."""
        return {"proposals": self.proposals, **dict(self.own_options), **self.treatment.options}

    @property
    def _facts(self) -> dict[str, Any]:
        """What `proposals` says: a name, or JSON of method, version and parameters."""
        return parse_json(self.proposals) if self.proposals.startswith("{") else {"method": self.proposals}

    def make(self, item: Item) -> Photo:
        """Read, check and pack one photo; see `Source.make`."""
        item.refuse_if_problem()
        assert isinstance(item, FileItem)
        photo = read_photo(item.photo_place, short_side_px=self.treatment.short_side_px, jpeg_quality=self.treatment.jpeg_quality)
        instances = file_instances(item.mask_place, photo=photo, treatment=self.treatment)
        labels = None
        if item.labels_place is not None:
            labels = labels_of(map_of(item.labels_place, photo=photo, what="labels"), place=item.labels_place)
        method = {**self._facts, "values": self.treatment.mask_values, "components": self.treatment.components}
        info = {"source": self.name, "photo": item.photo, "proposals": method, **dict(item.about)}
        return self.treatment.pack(photo, key=item.key, instances=instances, labels=labels, info=info)


def file_instances(place: Place, *, photo: PhotoFile, treatment: Treatment) -> Instances:
    """The instance map of a mask file.

    Raises:
        DataError: no mask, an unreadable one, another size than the photo's, or one without an object where empty ones are not kept.
    """
    values = map_of(place, photo=photo, what="mask", soft=treatment.mask_values == "binary")
    if treatment.mask_values == "auto":
        refuse_soft(values, place=place)
    instances = instances_of(values, mask_values=treatment.mask_values, components=treatment.components)
    if not instances.num_objects and not treatment.keep_empty:
        raise DataError(f"the mask {place} has no object, training could not use the photo; keep such photos for evaluation with --keep-empty")
    return instances


def map_of(place: Place, *, photo: PhotoFile, what: str, soft: bool = False) -> Int[ndarray, "H W"]:
    """A map's raw numbers, which must fit the upright photo. `soft` as `read_map`."""
    values = read_values(place, what=what, soft=soft)
    check_size(photo, width=values.shape[1], height=values.shape[0], what=f"the {what} {place}")
    return values


def check_size(photo: PhotoFile, *, width: int, height: int, what: str) -> None:
    """Raises DataError where `what` is not as large as the upright photo; one drawn on the photo as stored gets a sentence of its own."""
    if (width, height) == (photo.width, photo.height):
        return
    expected = f"expected {what} at its photo's size {photo.width} x {photo.height}, it is {width} x {height}"
    if (width, height) == (photo.stored_width, photo.stored_height):
        raise DataError(f"{expected}: it was drawn on the photo before its EXIF rotation; turn it upright")
    raise DataError(f"{expected}; make the two the same size")

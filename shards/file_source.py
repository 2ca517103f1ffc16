"""FileSource: photos, masks and labels that lie in files; VOC and plain folders are both lists of such triples."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy
from PIL import Image

from mcdist.data.sample import INFO_MEMBER, INSTANCES_MEMBER, SEGMENTS_MEMBER, encode_map
from mcdist.errors import DataError
from shards.mask_file import Instances, MaskValues, instances_of, labels_of, read_values
from shards.photo_file import PhotoFile, read_photo, shrunk_size
from shards.source import Item, Option, Photo


@dataclass(frozen=True, slots=True)
class Treatment:
    """How files become samples: resizing, how to read masks, and whether a photo whose mask is empty stays."""

    short_side_px: int = 0
    jpeg_quality: int = 92
    mask_values: MaskValues = "auto"
    components: bool = False
    keep_empty: bool = False

    @property
    def options(self) -> dict[str, Option]:
        """As kept in the manifest."""
        return {
            "short_side_px": self.short_side_px,
            "jpeg_quality": self.jpeg_quality if self.short_side_px else None,
            "mask_values": self.mask_values,
            "components": self.components,
            "keep_empty": self.keep_empty,
        }


@dataclass(frozen=True, slots=True)
class FileItem(Item):
    """One photo file with its mask file and, where ground truth is wanted, its label file. A path that does not exist is reported when the item is made."""

    photo_path: Path = Path()
    mask_path: Path = Path()
    labels_path: Path | None = None


def file_item(key: str, *, photo: str, photo_path: Path, mask_path: Path, labels_path: Path | None) -> FileItem:
    """An item whose identity is the sizes of its files and whose state their time stamps; "-" where a file is missing."""
    found = [_size_and_time(path) for path in (photo_path, mask_path, labels_path) if path is not None]
    return FileItem(
        key=key,
        photo=photo,
        identity="/".join(size for size, _ in found),
        state="/".join(time for _, time in found),
        photo_path=photo_path,
        mask_path=mask_path,
        labels_path=labels_path,
    )


@dataclass(frozen=True, slots=True)
class FileSource:
    """The Source of files: `proposals` names the masks' method in every sample."""

    name: str
    items: tuple[FileItem, ...]
    proposals: str
    treatment: Treatment
    own_options: tuple[tuple[str, Option], ...] = ()

    @property
    def options(self) -> dict[str, Option]:
        """The treatment's and the data set's own."""
        return {"proposals": self.proposals, **dict(self.own_options), **self.treatment.options}

    def make(self, item: Item) -> Photo:
        """Read, check and pack one photo; see `Source.make`."""
        assert isinstance(item, FileItem)
        photo = read_photo(item.photo_path, short_side_px=self.treatment.short_side_px, jpeg_quality=self.treatment.jpeg_quality)
        instances = self._instances(item, photo=photo)
        members = {photo.member: photo.content, INSTANCES_MEMBER: encode_map(self._resized(instances.values, photo=photo))}
        if item.labels_path is not None:
            labels = labels_of(_map_of(item.labels_path, photo=photo, what="labels"), path=item.labels_path)
            members[SEGMENTS_MEMBER] = encode_map(self._resized(labels, photo=photo))
        notes = ("more than 254 objects, the smallest became void",) if instances.num_dropped else ()
        members[INFO_MEMBER] = self._info(item, photo=photo, instances=instances)
        return Photo(key=item.key, members=members, notes=notes)

    def _instances(self, item: FileItem, *, photo: PhotoFile) -> Instances:
        values = _map_of(item.mask_path, photo=photo, what="mask")
        instances = instances_of(values, mask_values=self.treatment.mask_values, components=self.treatment.components)
        if not instances.num_objects and not self.treatment.keep_empty:
            raise DataError(f"the mask {item.mask_path} has no object, training could not use the photo; keep such photos for evaluation with --keep-empty")
        return instances

    def _resized(self, values: numpy.ndarray, *, photo: PhotoFile) -> numpy.ndarray:
        size = shrunk_size(photo.width, height=photo.height, short_side_px=self.treatment.short_side_px)
        if size == (photo.width, photo.height):
            return values
        return numpy.array(Image.fromarray(values.astype(numpy.int32)).resize(size, Image.Resampling.NEAREST))

    def _info(self, item: FileItem, *, photo: PhotoFile, instances: Instances) -> bytes:
        width, height = shrunk_size(photo.width, height=photo.height, short_side_px=self.treatment.short_side_px)
        method = {"method": self.proposals, "values": self.treatment.mask_values, "components": self.treatment.components}
        info = {"source": self.name, "photo": item.photo, "width": width, "height": height, "num_objects": instances.num_objects, "proposals": method}
        return json.dumps(info, sort_keys=True, ensure_ascii=False).encode()


def _map_of(path: Path, *, photo: PhotoFile, what: str) -> numpy.ndarray:
    """The map's raw numbers, which must fit the upright photo."""
    if not path.is_file():
        raise DataError(f"expected the photo's {what} at {path}, found none there; make it or leave the photo out")
    values = read_values(path)
    height, width = values.shape
    if (width, height) == (photo.width, photo.height):
        return values
    wanted = f"expected the {what} {path} at its photo's size {photo.width} x {photo.height}, it is {width} x {height}"
    if (width, height) == (photo.stored_width, photo.stored_height):
        raise DataError(f"{wanted}: it was drawn on the photo before its EXIF rotation; turn the {what} upright")
    raise DataError(f"{wanted}; make the two the same size")


def _size_and_time(path: Path) -> tuple[str, str]:
    try:
        found = path.stat()
    except OSError:
        return "-", "-"
    return str(found.st_size), str(found.st_mtime_ns)

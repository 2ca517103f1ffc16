"""Pack: one photo's members as the fields of an FFCV sample; what FFCV's own decoder could not read right becomes pixels."""

import json
from dataclasses import dataclass
from typing import Literal

from mcdist.building.source import Option, Photo
from mcdist.data.pictures.jpeg import is_plain_jpeg, jpeg_size
from mcdist.data.shards.beton import JPEG, RAW
from mcdist.data.shards.beton_fields import ABSENT, KEY_FIELD, OWN_FIELDS, PHOTO_FIELD
from mcdist.data.shards.raw_sample import INSTANCES_MEMBER, PHOTO_MEMBERS
from mcdist.data.shards.sample import decode_photo
from mcdist.errors import DataError

PhotoMode = Literal["jpg", "raw", "smart"]

SMART_MAX_BYTES = 2**20
"""`smart` keeps a photo as pixels up to this size (a VOC or COCO photo), as its JPEG beyond."""

MAX_SIDE_PX = 2**16 - 1
MAX_NAME_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Packing:
    """How photos are kept: `jpg` their own JPEG bytes, `raw` pixels, `smart` by size. `lossless` keeps the file's bytes beside the pixels as well."""

    photo: PhotoMode = "jpg"
    lossless: bool = False

    @property
    def options(self) -> dict[str, Option]:
        """As kept in the manifest."""
        return {"ffcv_photo": self.photo, "ffcv_lossless": self.lossless}


@dataclass(frozen=True, slots=True)
class Packed:
    """One FFCV sample: how the photo is kept, its upright size in px, and the bytes of every field it has."""

    key: str
    mode: int
    width: int
    height: int
    fields: dict[str, bytes]
    notes: tuple[str, ...] = ()


def pack(photo: Photo, *, packing: Packing) -> Packed:
    """The fields of a sample.

    A JPEG keeps its own bytes in the photo field where every decoder shows the same upright RGB picture. A PNG, a CMYK JPEG and one that its EXIF turns
    become pixels in each mode, and no bit of those is lost.

    Raises:
        DataError: FFCV cannot hold the photo (a side above 65,535 px) or a member (its name, or no bytes).
    """
    where = f"sample {photo.key}"
    member, content = _photo_of(photo, where=where)
    fields = {name: _checked(name, value, where=where) for name, value in photo.members.items() if name != member}
    fields[KEY_FIELD] = json.dumps(photo.key).encode()
    if member == "jpg" and packing.photo != "raw" and is_plain_jpeg(content) and _stays_jpeg(content, packing=packing):
        width, height = _within(jpeg_size(content), where=where)
        return Packed(photo.key, JPEG, width, height, {PHOTO_FIELD: content, **fields}, notes=photo.notes)
    pixels = decode_photo(content, where=where).permute(1, 2, 0).contiguous().numpy()
    width, height = _within((pixels.shape[1], pixels.shape[0]), where=where)
    if packing.lossless:
        fields[member] = content
    note = "kept as pixels and as its own file" if packing.lossless else "kept as pixels alone, its own file's bytes do not come back"
    return Packed(photo.key, RAW, width, height, {PHOTO_FIELD: pixels.tobytes(), **fields}, notes=(*photo.notes, note))


def _stays_jpeg(content: bytes, *, packing: Packing) -> bool:
    width, height = jpeg_size(content)
    return packing.photo == "jpg" or 3 * width * height > SMART_MAX_BYTES


def _photo_of(photo: Photo, *, where: str) -> tuple[str, bytes]:
    found = [name for name in PHOTO_MEMBERS if name in photo.members]
    if len(found) != 1 or INSTANCES_MEMBER not in photo.members:
        raise DataError(f"{where}: expected one photo ({' or '.join(PHOTO_MEMBERS)}) and {INSTANCES_MEMBER}, found {sorted(photo.members)}")
    return found[0], photo.members[found[0]]


def _checked(name: str, content: bytes, *, where: str) -> bytes:
    if name in OWN_FIELDS or len(name) > MAX_NAME_LENGTH or not name.isascii():
        raise DataError(
            f"{where}: FFCV cannot keep a member called {name!r}: expected at most {MAX_NAME_LENGTH} ASCII letters, none of {', '.join(OWN_FIELDS)}"
        )
    if not content or content == ABSENT:
        raise DataError(f"{where}: its member {name} is empty; leave it out")
    return content


def _within(size: tuple[int, int], *, where: str) -> tuple[int, int]:
    if max(size) > MAX_SIDE_PX:
        raise DataError(f"{where}: the photo is {size[0]} x {size[1]}, FFCV holds at most {MAX_SIDE_PX} px a side; make it smaller, or use --format webdataset")
    return size

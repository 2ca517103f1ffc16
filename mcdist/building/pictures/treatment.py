"""Treatment: how a photo and its maps become the members of a sample, whatever data set they are from."""

import json
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Int, UInt8
from PIL import Image

from mcdist.building.pictures.mask import Instances, MaskValues
from mcdist.building.pictures.photo import RESIZE_FILTER, PhotoFile, shrunk_size
from mcdist.building.source import Option, Photo
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.raw_sample import INFO_MEMBER, INSTANCES_MEMBER, SEGMENTS_MEMBER
from mcdist.errors import DataError

TOO_MANY = "more than 254 objects, the smallest became void"
LOST = "objects too small for --short-side were lost"


@dataclass(frozen=True, slots=True)
class Treatment:
    """Resizing, how to read masks, and whether a photo whose mask is empty stays."""

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
            "resize_filter": RESIZE_FILTER if self.short_side_px else None,
            "mask_values": self.mask_values,
            "components": self.components,
            "keep_empty": self.keep_empty,
        }

    def pack(
        self,
        photo: PhotoFile,
        *,
        key: str,
        instances: Instances,
        labels: UInt8[numpy.ndarray, "H W"] | None,
        info: dict[str, Any],
        notes: tuple[str, ...] = (),
    ) -> Photo:
        """The sample's members: photo, instance map and labels at one size; `info` gains width, height and number of objects.

        Raises:
            DataError: shrinking left no object, and photos without one are not kept.
        """
        width, height = shrunk_size(photo.width, height=photo.height, short_side_px=self.short_side_px)
        values = _resized(instances.values, size=(width, height))
        num_objects = len(numpy.unique(values[values > 0]))
        if instances.num_objects and not num_objects and not self.keep_empty:
            raise DataError(f"no object of the photo is left at {width} x {height}; choose a larger --short-side, or keep such photos with --keep-empty")
        full_info = {**info, "width": width, "height": height, "num_objects": num_objects}
        members = {photo.member: photo.content, INSTANCES_MEMBER: encode_map(values)}
        if labels is not None:
            members[SEGMENTS_MEMBER] = encode_map(_resized(labels, size=(width, height)))
        members[INFO_MEMBER] = json.dumps(full_info, sort_keys=True, ensure_ascii=False).encode()
        return Photo(key=key, members=members, notes=(*notes, *_notes_of(instances, num_left=num_objects)))


def _notes_of(instances: Instances, *, num_left: int) -> list[str]:
    return [note for note, is_due in ((TOO_MANY, instances.num_dropped > 0), (LOST, num_left < instances.num_objects)) if is_due]


def _resized(values: Int[numpy.ndarray, "H W"] | UInt8[numpy.ndarray, "H W"], *, size: tuple[int, int]) -> numpy.ndarray:
    """The value at the nearest pixel centre."""
    if size == (values.shape[1], values.shape[0]):
        return values
    return numpy.array(Image.fromarray(values.astype(numpy.int32)).resize(size, Image.Resampling.NEAREST))

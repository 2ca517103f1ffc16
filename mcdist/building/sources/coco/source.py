"""CocoSource: COCO's photos with instances, panoptic maps, COCO-Stuff labels or proposals.

Its items know where their annotations are in the JSON files (`coco_file`); making one reads those alone.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy
from jaxtyping import UInt8

from mcdist.building.pictures.mask import Instances
from mcdist.building.pictures.photo import PhotoFile, read_photo
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, Option, Photo
from mcdist.building.sources.coco.maps import Category, CocoMaps, annotation_maps, panoptic_maps
from mcdist.building.sources.coco.stuff import StuffClasses, stuff_labels
from mcdist.building.sources.files import check_size, file_instances, map_of
from mcdist.errors import DataError


@dataclass(frozen=True, slots=True)
class CocoItem(Item):
    """A photo, its id and size in the file (None: not said), and where its masks' and labels' annotations are, packed as `coco_file.PLACES`."""

    image_id: int | None = None
    width: int | None = None
    height: int | None = None
    masks: bytes = b""
    labels: bytes = b""


@dataclass(frozen=True, slots=True)
class JsonMaps:
    """Maps made of a JSON file's annotations: polygons and run lengths, or panoptic segments where there is a folder of their PNGs."""

    file: Path
    categories: dict[int, Category] = field(default_factory=dict)
    with_categories: bool = False
    panoptic_folder: Path | None = None
    min_score: float = 0.0

    def maps(self, places: bytes, *, photo: PhotoFile) -> CocoMaps:
        """The maps of the annotations at `places`; see `coco_maps`."""
        if self.panoptic_folder is not None:
            return panoptic_maps(self.file, places=places, folder=self.panoptic_folder, photo=photo, categories=self.categories)
        return annotation_maps(
            self.file, places=places, photo=photo, categories=self.categories, with_categories=self.with_categories, min_score=self.min_score
        )


@dataclass(frozen=True, slots=True)
class StuffMaps:
    """COCO-Stuff's maps: one PNG a photo in `folder`."""

    folder: Path
    classes: StuffClasses


@dataclass(frozen=True, slots=True)
class CocoSource:
    """The Source of COCO. `masks` is a folder of PNGs or made of JSON; `labels` None: the shards hold no ground truth."""

    items: tuple[Item, ...]
    images: Path
    masks: JsonMaps | Path
    labels: JsonMaps | StuffMaps | None
    method: str
    treatment: Treatment
    own_options: tuple[tuple[str, Option], ...] = ()

    @property
    def name(self) -> str:
        """Always `coco`."""
        return "coco"

    @property
    def options(self) -> dict[str, Option]:
        """The files by name and content, the names of the classes, the treatment's."""
        return {"proposals": self.method, **dict(self.own_options), **self.treatment.options}

    def make(self, item: Item) -> Photo:
        """Read, check and pack one photo; see `Source.make`."""
        item.refuse_if_problem()
        assert isinstance(item, CocoItem)
        photo = read_photo(str(self.images / item.photo), short_side_px=self.treatment.short_side_px, jpeg_quality=self.treatment.jpeg_quality)
        check_size(photo, width=item.width or photo.width, height=item.height or photo.height, what=f"the annotations of {item.photo}")
        maps = self.masks.maps(item.masks, photo=photo) if isinstance(self.masks, JsonMaps) else None
        instances, notes = self._instances(item, photo=photo, maps=maps)
        labels = self._labels(item, photo=photo, maps=maps)
        info = {"source": self.name, "photo": item.photo, "image_id": item.image_id, "proposals": {"method": self.method}}
        return self.treatment.pack(photo, key=item.key, instances=instances, labels=labels, info=info, notes=notes)

    def _instances(self, item: CocoItem, *, photo: PhotoFile, maps: CocoMaps | None) -> tuple[Instances, tuple[str, ...]]:
        if maps is None:
            assert isinstance(self.masks, Path)
            return file_instances(png_beside(self.masks, photo=item.photo), photo=photo, treatment=self.treatment), ()
        instances, notes = maps.instances()
        if not instances.num_objects and not self.treatment.keep_empty:
            raise DataError(f"{item.photo} has no object in {self.method}, training could not use it; keep such photos for evaluation with --keep-empty")
        return instances, notes

    def _labels(self, item: CocoItem, *, photo: PhotoFile, maps: CocoMaps | None) -> UInt8[numpy.ndarray, "H W"] | None:
        if self.labels is None:
            return None
        if isinstance(self.labels, StuffMaps):
            place = png_beside(self.labels.folder, photo=item.photo)
            return stuff_labels(map_of(place, photo=photo, what="COCO-Stuff map"), classes=self.labels.classes, place=place)
        same = maps is not None and self.labels == self.masks
        return maps.categories if maps is not None and same else self.labels.maps(item.labels, photo=photo).categories


def png_beside(folder: Path, *, photo: str) -> str:
    """The PNG in `folder` at the photo's relative path."""
    return str((folder / photo).with_suffix(".png"))

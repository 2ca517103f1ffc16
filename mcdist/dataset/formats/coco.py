"""COCO's instances: images/, annotations/instances_train.json and instances_val.json. cocodataset.org/#format-data."""

import json
from typing import Any

from mcdist.dataset.formats.format import Format, Kind, Target, write_file
from mcdist.dataset.outlines import outlines_between
from mcdist.dataset.photo import LabelledPhoto, LabelledSegment, Split

_HOW_TO_OPEN = """\
from pycocotools.coco import COCO

coco = COCO("annotations/instances_train.json")
photo = coco.loadImgs(coco.getImgIds())[0]
annotations = coco.loadAnns(coco.getAnnIds(photo["id"]))
masks = [coco.annToMask(annotation) for annotation in annotations]  # of images/ + photo["file_name"]"""


class Coco:
    """Annotations go to their files as they come, so that memory holds one photo whatever the number; only the list of photos is kept."""

    def __init__(self, target: Target) -> None:
        """Begin the two files."""
        self._target = target
        self._files = {split: _AnnotationFile(target, split=split) for split in _SPLITS}
        self._num_annotations = 0

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """The photo and a line for each of its labelled segments."""
        name = f"{photo.key}{suffix}"
        write_file(self._target.folder / "images" / name, content)
        file = self._files[photo.split]
        file.images.append(image_of(photo, file_name=name))
        first = self._num_annotations + 1
        file.add([_annotation(segment, photo=photo, number=first + place) for place, segment in enumerate(photo.labelled)])
        self._num_annotations += len(photo.labelled)

    def finish(self) -> None:
        """End the files with the lists of photos and categories."""
        for file in self._files.values():
            file.finish(categories=[{"id": class_id, "name": name, "supercategory": "object"} for class_id, name in self._target.names.items()])


_SPLITS: tuple[Split, ...] = ("train", "val")


def image_of(photo: LabelledPhoto, *, file_name: str) -> dict[str, Any]:
    """A photo's entry in `images`."""
    return {"id": photo.number, "file_name": file_name, "width": photo.width, "height": photo.height, "original": photo.original}


def _annotation(segment: LabelledSegment, *, photo: LabelledPhoto, number: int) -> dict[str, Any]:
    polygons = [(outline + [segment.x, segment.y]).ravel().tolist() for outline in outlines_between(segment.crop)]
    return {
        "id": number,
        "image_id": photo.number,
        "category_id": segment.class_id,
        "segmentation": polygons,
        "area": segment.area_px,
        "bbox": segment.box_xywh,
        "iscrowd": 0,
        "score": segment.confidence,
        "cluster": segment.cluster,
    }


class _AnnotationFile:
    """One JSON file, its `annotations` first and written as they come: the order of the keys of a JSON object means nothing. Open while it is written only."""

    def __init__(self, target: Target, *, split: Split) -> None:
        self._path = target.folder / "annotations" / f"instances_{split}.json"
        info = json.dumps({"description": target.title, "contributor": "mcdist"})
        write_file(self._path, f'{{"info": {info}, "licenses": [], "annotations": ['.encode())
        self._comma = "\n"
        self.images: list[dict[str, Any]] = []

    def add(self, annotations: list[dict[str, Any]]) -> None:
        if annotations:
            self._append(self._comma + ",\n".join(json.dumps(annotation) for annotation in annotations))
            self._comma = ",\n"

    def finish(self, *, categories: list[dict[str, Any]]) -> None:
        self._append(f'], "categories": {json.dumps(categories)}, "images": {json.dumps(self.images)}}}\n')

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def _begin(target: Target) -> Format:
    return Coco(target)


KIND = Kind(
    name="coco",
    summary="COCO instances: a polygon for each part of an object, holes cut in; `score` is the confidence",
    begin=_begin,
    how_to_open=_HOW_TO_OPEN,
    void="Void segments have no annotation: COCO's instances cannot say that a pixel is unknown.",
)

"""COCO's panoptic format: a PNG a photo whose colour is a segment's id (R + 256 G + 65536 B), 0 being void. cocodataset.org/#format-data."""

import json
from typing import Any

import numpy
from PIL import Image

from mcdist.data.pictures.picture_png import encode_picture_png
from mcdist.dataset.formats.coco import image_of
from mcdist.dataset.formats.format import Format, Kind, Target, write_file
from mcdist.dataset.photo import LabelledPhoto, Split

_HOW_TO_OPEN = """\
import json
import numpy
from PIL import Image

panoptic = json.load(open("annotations/panoptic_train.json"))
entry = panoptic["annotations"][0]
colours = numpy.asarray(Image.open("annotations/panoptic_train/" + entry["file_name"]), dtype=int)
ids = colours @ [1, 256, 65536]  # 0: void; else the id of one of entry["segments_info"]"""


class CocoPanoptic:
    """The PNGs as they come, the lists at the end."""

    def __init__(self, target: Target) -> None:
        """Nothing is written yet."""
        self._target = target
        self._images: dict[Split, list[dict[str, Any]]] = {"train": [], "val": []}
        self._entries: dict[Split, list[dict[str, Any]]] = {"train": [], "val": []}

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """The photo and its map. A segment that others cover wholly has no entry."""
        folder, name = self._target.folder, f"{photo.key}{suffix}"
        write_file(folder / "images" / name, content)
        self._images[photo.split].append(image_of(photo, file_name=name))
        ids = numpy.zeros((photo.height, photo.width), dtype=numpy.int32)
        for segment in photo.painting_order:
            segment.paint(ids, value=segment.number if segment.class_id else 0)
        write_file(folder / "annotations" / f"panoptic_{photo.split}" / f"{photo.key}.png", _coloured(ids))
        infos = [
            {"id": segment.number, "category_id": segment.class_id, **_extent(ids == segment.number), "iscrowd": 0, "score": segment.confidence}
            for segment in photo.labelled
            if (ids == segment.number).any()
        ]
        self._entries[photo.split].append({"image_id": photo.number, "file_name": f"{photo.key}.png", "segments_info": infos})

    def finish(self) -> None:
        """One JSON file for each split."""
        colours = self._target.colours
        categories = [
            {"id": class_id, "name": name, "supercategory": "object", "isthing": 1, "color": list(colours[class_id])}
            for class_id, name in self._target.names.items()
        ]
        for split, images in self._images.items():
            (self._target.folder / "annotations" / f"panoptic_{split}").mkdir(parents=True, exist_ok=True)
            info = {"description": self._target.title, "contributor": "mcdist"}
            whole = {"info": info, "licenses": [], "images": images, "annotations": self._entries[split], "categories": categories}
            write_file(self._target.folder / "annotations" / f"panoptic_{split}.json", json.dumps(whole).encode() + b"\n")


def _coloured(ids: numpy.ndarray) -> bytes:
    colours = numpy.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(numpy.uint8)
    return encode_picture_png(Image.fromarray(colours))


def _extent(mask: numpy.ndarray) -> dict[str, Any]:
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return {"area": int(mask.sum()), "bbox": box}


def _begin(target: Target) -> Format:
    return CocoPanoptic(target)


KIND = Kind(
    name="coco-panoptic",
    summary="COCO panoptic: a PNG of segment ids for each photo; pixels of no labelled segment are void (id 0)",
    begin=_begin,
    how_to_open=_HOW_TO_OPEN,
    void="Void segments and everything outside of segments have the id 0, which COCO's panoptic rules leave out of every score.",
)

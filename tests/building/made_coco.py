"""A tiny COCO data set that tests make for themselves and spoil."""

import json
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from tests.building.made_pictures import save_photo

WIDTH, HEIGHT = 48, 32

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]


def rectangle(x: float, y: float, width: float, height: float) -> list[list[float]]:
    """One polygon."""
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def annotation(number: int, *, image_id: int, segmentation: Any, category_id: int = 1, **others: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "segmentation": segmentation, "category_id": category_id, "iscrowd": 0, **others}


def make_coco(root: Path, *, num: int = 4) -> dict[str, Any]:
    """Photos in `root/images`; photo i holds a person of 20 x 16 px and, on top of it, a cat of 6 x 6 px. Not written: see `write_coco`."""
    images, annotations = [], []
    for number in range(1, num + 1):
        save_photo(root / "images" / f"{number:012d}.jpg", seed=number, width=WIDTH, height=HEIGHT)
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT})
        annotations.append(annotation(2 * number, image_id=number, segmentation=rectangle(8, 8, 6, 6), category_id=17, bbox=[8, 8, 6, 6]))
        annotations.append(annotation(2 * number + 1, image_id=number, segmentation=rectangle(4, 4, 20, 16), bbox=[4, 4, 20, 16]))
    return {"info": {"year": 2017, "contributor": "né"}, "images": images, "annotations": annotations, "categories": [dict(entry) for entry in CATEGORIES]}


def write_coco(root: Path, content: Any, *, name: str = "instances.json") -> Path:
    (root / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return root / name


def write_panoptic(root: Path, *, num: int = 4, ids: tuple[int, int, int] = (70_000, 300, 5)) -> Path:
    """`root/panoptic.json` and `root/panoptic/`: a thing (category 1), stuff (category 184), a crowd (category 17), and pixels of no segment."""
    (root / "panoptic").mkdir()
    annotations = []
    for number in range(1, num + 1):
        values = numpy.zeros((HEIGHT, WIDTH), dtype=numpy.int64)
        values[:, 10:20], values[:, 20:40], values[:4, 40:] = ids
        colours = numpy.stack([values % 256, values // 256 % 256, values // 65536], axis=2).astype(numpy.uint8)
        Image.fromarray(colours).save(root / "panoptic" / f"{number:012d}.png")
        segments = [{"id": ids[0], "category_id": 1, "iscrowd": 0}, {"id": ids[1], "category_id": 184, "iscrowd": 0}]
        segments.append({"id": ids[2], "category_id": 17, "iscrowd": 1})
        annotations.append({"image_id": number, "file_name": f"{number:012d}.png", "segments_info": segments})
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT} for number in range(1, num + 1)]
    categories = [{**entry, "isthing": 1} for entry in CATEGORIES] + [{"id": 184, "name": "tree-merged", "isthing": 0}]
    return write_coco(root, {"images": images, "annotations": annotations, "categories": categories}, name="panoptic.json")

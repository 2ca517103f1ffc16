"""A folder of photos and what `mcdist segment` writes of it, made by hand after the format's specification, without the segmenter."""

import json
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from pycocotools import mask as coco_mask


def blob(height: int, width: int, *, top: int, left: int, bottom: int, right: int, hole: bool = False, parts: int = 1) -> numpy.ndarray:
    """A mask with slanted edges; with a hole in it, or in several parts side by side."""
    rows, columns = numpy.mgrid[:height, :width]
    mask = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right) & (rows - top + columns - left > 2)
    if hole:
        mask &= ~((rows > top + 3) & (rows < bottom - 3) & (columns > left + 3) & (columns < right - 4))
    if parts > 1:
        mask &= (columns - left) % ((right - left) // parts) != 0
    return mask


def segment(number: int, mask: numpy.ndarray, *, cluster: int, name: str | None, class_id: int, confidence: float, vector: list[float]) -> dict[str, Any]:
    """A segment's entry."""
    encoded = coco_mask.encode(numpy.asfortranarray(mask.astype(numpy.uint8)))
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return {
        "number": number,
        "cluster": cluster,
        "class": name,
        "class_id": class_id,
        "confidence": confidence,
        "second": {"cluster": 0, "class": "cat", "confidence": 0.05},
        "area_px": int(mask.sum()),
        "box_xywh": box,
        "rle": {"size": list(mask.shape), "counts": encoded["counts"].decode()},
        "vector": vector,
    }


def write_photo(path: Path, *, height: int, width: int, seed: int, orientation: int = 1) -> None:
    """A noisy photo that is `height` x `width` upright, in the format of its name."""
    pixels = numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels if orientation == 1 else numpy.rot90(pixels))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif, quality=95)


def write_segments(folder: Path, *, photo: str, height: int, width: int, segments: list[dict[str, Any]]) -> Path:
    """One photo's file."""
    path = folder / "segments" / f"{photo}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": "mcdist segments 1", "photo": photo, "width": width, "height": height, "segments": segments}
    path.write_text(json.dumps(content))
    return path


def write_classes(folder: Path, *, photos: Path, **more: Any) -> None:
    """classes.json, as far as an export reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps({"photos": str(photos), **more}))


def masks_of(place: int, *, height: int, width: int) -> list[numpy.ndarray]:
    """Four masks that do not overlap, the second with a hole, the third in parts."""
    return [
        blob(height, width, top=2, left=2 + place, bottom=14, right=14 + place),
        blob(height, width, top=2, left=22, bottom=18, right=42, hole=True),
        blob(height, width, top=22, left=3, bottom=36, right=27, parts=3),
        blob(height, width, top=24, left=34, bottom=30 + place % 3, right=48),
    ]


def made_segments(root: Path, *, num_photos: int = 6) -> tuple[Path, Path]:
    """(photos, segments): photos with a cat and a dog of high confidence, a dog of 0.3, and an object of an unnamed cluster; the last photo has no segment."""
    photos, folder = root / "photos", root / "segmented"
    height, width = 40, 52
    for place in range(num_photos):
        name = f"trip/{place}.jpg" if place % 2 else f"photo {place}.png"
        write_photo(photos / name, height=height, width=width, seed=place)
        masks = masks_of(place, height=height, width=width)
        segments = [
            segment(1, masks[0], cluster=3, name="cat", class_id=1, confidence=0.9, vector=[1.0, 0.0]),
            segment(2, masks[1], cluster=5, name="dog", class_id=2, confidence=0.8, vector=[0.0, 1.0]),
            segment(3, masks[2], cluster=5, name="dog", class_id=2, confidence=0.3, vector=[0.6, 0.8]),
            segment(4, masks[3], cluster=7, name="unnamed cluster 7", class_id=3, confidence=0.95, vector=[0.8, 0.6]),
        ]
        write_segments(folder, photo=name, height=height, width=width, segments=segments if place < num_photos - 1 else [])
    write_classes(folder, photos=photos)
    return photos, folder

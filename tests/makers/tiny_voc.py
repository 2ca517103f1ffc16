"""A folder in the layout of PASCAL VOC 2012: generated photos, their masks in `unsupervised_saliency`, and ground truth of three classes."""

from io import BytesIO
from pathlib import Path

import numpy
from PIL import Image

from mcdist.building.sources.demo.source import demo_source


def tiny_voc(root: Path, *, splits: dict[str, int], size_px: int = 64) -> Path:
    """`splits`: photos of each list; all lists begin with the same photos. Returns `root`, the folder that holds VOCdevkit."""
    folder = root / "VOCdevkit" / "VOC2012"
    source = demo_source("val", num_photos=max(splits.values()), size_px=size_px, seed=0)
    for name in ("JPEGImages", "unsupervised_saliency", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    names = [f"2007_{place:06d}" for place in range(len(source.items))]
    for name, item in zip(names, source.items, strict=True):
        members = source.make(item).members
        (suffix,) = {"jpg", "png"} & members.keys()
        Image.open(BytesIO(members[suffix])).convert("RGB").save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "unsupervised_saliency" / f"{name}.png").write_bytes(members["mask.png"])
        truth = numpy.asarray(Image.open(BytesIO(members["seg.png"])))
        Image.fromarray(numpy.where(truth > 0, 1 + truth % 2, 0).astype(numpy.uint8)).save(folder / "SegmentationClass" / f"{name}.png")
    for split, num in splits.items():
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names[:num]))
    return root

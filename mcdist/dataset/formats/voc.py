"""PASCAL VOC 2012's layout: JPEGImages, SegmentationClass, SegmentationObject, Annotations and ImageSets below VOCdevkit/VOC2012."""

from xml.etree import ElementTree

import numpy
from jaxtyping import UInt8

from mcdist.data.pictures.png import STORED_VOID, encode_palette_png
from mcdist.dataset.formats.format import Format, Kind, Target, write_file
from mcdist.dataset.photo import LabelledPhoto, Split

MAX_CLASSES = 254
"""Ids of a palette PNG, without 0 (background) and 255 (void)."""

_HOW_TO_OPEN = """\
from torchvision.datasets import VOCSegmentation

photos = VOCSegmentation(".", year="2012", image_set="train")
photo, classes = photos[0]  # class ids: 0 background, 255 void; names in VOCdevkit/VOC2012/labels.txt, line by line from id 0"""


class Voc:
    """The files of each photo as it comes, the lists at the end."""

    def __init__(self, target: Target) -> None:
        """Nothing is written yet."""
        self._target, self._root = target, target.folder / "VOCdevkit" / "VOC2012"
        self._keys: dict[Split, list[str]] = {"train": [], "val": []}
        self._palette = _palette(target)

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """Photo, class map, object map and boxes."""
        write_file(self._root / "JPEGImages" / f"{photo.key}.jpg", content)
        classes, objects = numpy.zeros((2, photo.height, photo.width), dtype=numpy.uint8)
        numbers = {segment.number: place + 1 for place, segment in enumerate(photo.labelled)}
        for segment in photo.painting_order:
            segment.paint(classes, value=STORED_VOID if segment.class_id is None else segment.class_id)
            segment.paint(objects, value=0 if segment.class_id == 0 else min(numbers.get(segment.number, STORED_VOID), STORED_VOID))
        write_file(self._root / "SegmentationClass" / f"{photo.key}.png", self._png(classes))
        write_file(self._root / "SegmentationObject" / f"{photo.key}.png", self._png(objects))
        write_file(self._root / "Annotations" / f"{photo.key}.xml", _boxes(photo, names=self._target.names))
        self._keys[photo.split].append(photo.key)

    def finish(self) -> None:
        """The lists of photos of each split, and the classes' names by id."""
        lists: dict[str, list[str]] = {**{str(split): keys for split, keys in self._keys.items()}, "trainval": sorted(self._keys["train"] + self._keys["val"])}
        for task in ("Segmentation", "Main"):
            for split, keys in lists.items():
                write_file(self._root / "ImageSets" / task / f"{split}.txt", "".join(f"{key}\n" for key in keys).encode())
        names = {0: "background", **self._target.names}
        write_file(self._root / "labels.txt", "".join(f"{names.get(class_id, '')}\n" for class_id in range(max(names) + 1)).encode())

    def _png(self, values: numpy.ndarray) -> bytes:
        return encode_palette_png(values, colours=self._palette)


def _palette(target: Target) -> UInt8[numpy.ndarray, "256 3"]:
    """256 colours; void is VOC's cream."""
    colours = {0: (0, 0, 0), **target.colours, STORED_VOID: (224, 224, 192)}
    return numpy.array([colours.get(value, (value, value, value)) for value in range(256)], dtype=numpy.uint8)


def _boxes(photo: LabelledPhoto, *, names: dict[int, str]) -> bytes:
    """VOC's annotation file. Its boxes count pixels from 1 and include the last one."""
    root = ElementTree.Element("annotation")
    _text(root, folder="VOC2012", filename=f"{photo.key}.jpg")
    _text(ElementTree.SubElement(root, "size"), width=photo.width, height=photo.height, depth=3)
    _text(root, segmented=1)
    for segment in photo.labelled:
        x, y, width, height = segment.box_xywh
        found = ElementTree.SubElement(root, "object")
        _text(found, name=names[segment.class_id or 0], pose="Unspecified", truncated=0, difficult=0)
        _text(ElementTree.SubElement(found, "bndbox"), xmin=x + 1, ymin=y + 1, xmax=x + width, ymax=y + height)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _text(parent: ElementTree.Element, **fields: str | int) -> None:
    for name, value in fields.items():
        ElementTree.SubElement(parent, name).text = str(value)


def _begin(target: Target) -> Format:
    return Voc(target)


KIND = Kind(
    name="voc",
    summary="PASCAL VOC 2012: maps of classes and of objects, boxes, and lists of photos; void is 255",
    begin=_begin,
    how_to_open=_HOW_TO_OPEN,
    void="Void segments are 255 in both maps; what is outside of all segments is 0, background. Photos that are no JPEG were saved as JPEG of quality 95.",
    jpeg_only=True,
    max_classes=MAX_CLASSES,
)

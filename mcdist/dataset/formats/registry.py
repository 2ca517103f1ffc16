"""The formats of a data set by their names. A new one is a file in this folder and a name here."""

from mcdist.dataset.formats import coco, coco_panoptic, labelme, voc, yolo_seg
from mcdist.dataset.formats.format import Kind

FORMATS: dict[str, Kind] = {kind.name: kind for kind in (coco.KIND, coco_panoptic.KIND, voc.KIND, yolo_seg.KIND, labelme.KIND)}

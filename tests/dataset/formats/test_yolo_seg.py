"""YOLO exports, read by the documented rules: a line is a class and x y of each corner over width and height; data.yaml names folders and classes."""

from typing import Any

import numpy
import pytest

from mcdist.dataset.labels import LabelRule
from mcdist.workflows.dataset_export import export_dataset
from mcdist.yaml_text import read_yaml
from tests.makers.made_segments import masks_of


def polygons_of(path, *, width, height):
    """As ultralytics reads a label file: class, and corners in px, cut to whole numbers for OpenCV."""
    for line in path.read_text().splitlines():
        class_index, *numbers = line.split()
        corners = numpy.array(numbers, dtype=numpy.float32).reshape(-1, 2)
        assert len(corners) >= 3 and ((corners >= 0) & (corners <= 1)).all()
        yield int(class_index), (corners * [width, height]).astype(numpy.int32)


def test_every_line_filled_by_opencv_is_its_segment(exports):
    cv2 = pytest.importorskip("cv2")
    out = exports("yolo-seg")
    data: Any = read_yaml((out / "data.yaml").read_text(), where="data.yaml")
    assert data["names"] == {"0": "cat", "1": "dog"}
    num_photos = 0
    for split in ("train", "val"):
        assert (out / data[split]).is_dir()
        for photo in sorted((out / data[split]).iterdir()):
            labels = out / data[split].replace("images", "labels") / f"{photo.stem}.txt"
            place = int(photo.stem.split("_")[-1])
            masks = masks_of(place, height=40, width=52)
            for number, (class_index, corners) in enumerate(polygons_of(labels, width=52, height=40)):
                canvas = numpy.zeros((40, 52), dtype=numpy.uint8)
                cv2.fillPoly(canvas, [corners], 1)
                assert class_index == number and (canvas.astype(bool) == masks[number]).all()
            num_photos += 1
    assert num_photos == 5


def test_parts_of_one_object_are_one_line_that_covers_them(segmented, tmp_path):
    cv2 = pytest.importorskip("cv2")
    out = export_dataset(segmented[1], format="yolo-seg", out=tmp_path / "all", rule=LabelRule(0.0), val_share=0.0).folder
    labels = out / "labels" / "train" / "photo_0.txt"
    class_index, corners = list(polygons_of(labels, width=52, height=40))[2]
    canvas = numpy.zeros((40, 52), dtype=numpy.uint8)
    cv2.fillPoly(canvas, [corners], 1)
    mask = masks_of(0, height=40, width=52)[2]
    assert class_index == 1 and canvas.astype(bool)[mask].all(), "lines between parts may be drawn, nothing is missing"
    assert (canvas.astype(bool) & ~mask).sum() <= 4

"""labelme exports, read by its documented fields and drawn by its own rule: Pillow's polygon, or the mask of a shape pasted at its corner."""

import base64
import io
import json

import numpy
from PIL import Image, ImageDraw

from tests.makers.made_segments import masks_of


def drawn(shape, *, height, width):
    """As labelme's shape_to_mask and shapes_to_label."""
    if shape["shape_type"] == "mask":
        (left, top), (right, bottom) = numpy.array(shape["points"], dtype=int)
        mask = numpy.zeros((height, width), dtype=bool)
        mask[top : bottom + 1, left : right + 1] = numpy.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
        return mask
    assert shape["shape_type"] == "polygon" and len(shape["points"]) > 2
    canvas = Image.new("L", (width, height), 0)
    ImageDraw.Draw(canvas).polygon(xy=[tuple(point) for point in shape["points"]], outline=1, fill=1)
    return numpy.asarray(canvas).astype(bool)


def test_every_segment_is_drawn_exactly_and_void_is_ignored(exports):
    out = exports("labelme")
    files = sorted(out.glob("*/*.json"))
    assert len(files) == 5
    for path in files:
        content = json.loads(path.read_text())
        with Image.open(path.parent / content["imagePath"]) as photo:
            assert photo.size == (content["imageWidth"], content["imageHeight"]) == (52, 40)
        assert content["imageData"] is None and content["flags"] == {}
        masks = masks_of(int(path.stem.split("_")[-1]), height=40, width=52)
        by_segment: dict[int, numpy.ndarray] = {}
        for shape in content["shapes"]:
            number = shape["group_id"]
            by_segment[number] = by_segment.get(number, numpy.zeros((40, 52), dtype=bool)) | drawn(shape, height=40, width=52)
            assert shape["label"] == {1: "cat", 2: "dog", 3: "__ignore__", 4: "__ignore__"}[number]
            assert (shape["shape_type"] == "mask") == (shape["mask"] is not None)
        assert all((by_segment[place + 1] == mask).all() for place, mask in enumerate(masks))
    assert {shape["shape_type"] for path in files for shape in json.loads(path.read_text())["shapes"]} >= {"polygon"}


def test_the_list_of_labels_begins_as_labelmes_tools_expect(exports):
    assert (exports("labelme") / "labels.txt").read_text().splitlines() == ["__ignore__", "_background_", "cat", "dog"]

"""VOC exports, read by torchvision."""

import numpy
from torchvision.datasets import VOCDetection, VOCSegmentation

from tests.makers.made_segments import masks_of


def test_torchvision_reads_class_ids_void_and_background_exactly(exports):
    out = exports("voc")
    num_photos = 0
    for split in ("train", "val"):
        for photo, classes in VOCSegmentation(str(out), year="2012", image_set=split):
            assert photo.size == classes.size == (52, 40)
            values = numpy.asarray(classes)
            assert classes.mode == "P" and set(numpy.unique(values)) == {0, 1, 2, 255}
            places = [place for place in range(5) if (masks_of(place, height=40, width=52)[0] == (values == 1)).all()]
            (place,) = places
            masks = masks_of(place, height=40, width=52)
            assert ((values == 2) == masks[1]).all() and ((values == 255) == masks[2] | masks[3]).all()
            num_photos += 1
    assert num_photos == 5


def test_boxes_count_pixels_from_one_and_include_the_last(exports):
    (first, about), *_ = VOCDetection(str(exports("voc")), year="2012", image_set="train")
    objects = about["annotation"]["object"]
    assert [found["name"] for found in objects] == ["cat", "dog"]
    assert objects[1]["bndbox"] == {"xmin": "23", "ymin": "3", "xmax": "42", "ymax": "18"}
    assert about["annotation"]["size"] == {"width": str(first.width), "height": str(first.height), "depth": "3"}


def test_the_object_map_numbers_labelled_segments_and_a_list_has_the_names(exports):
    root = exports("voc") / "VOCdevkit" / "VOC2012"
    key = (root / "ImageSets" / "Segmentation" / "trainval.txt").read_text().split("\n")[0]
    from PIL import Image

    assert set(numpy.unique(numpy.asarray(Image.open(root / "SegmentationObject" / f"{key}.png")))) == {0, 1, 2, 255}
    assert (root / "labels.txt").read_text().splitlines() == ["background", "cat", "dog"]
    assert all(path.suffix == ".jpg" for path in (root / "JPEGImages").iterdir())

"""Panoptic exports, read by the published rules: id = R + 256 G + 65536 B, every id but 0 is in segments_info, and areas and boxes agree."""

import json

import numpy
from PIL import Image

from tests.makers.made_segments import masks_of


def test_ids_areas_and_boxes_follow_the_published_rules(exports):
    out = exports("coco-panoptic")
    num_photos = 0
    for split in ("train", "val"):
        whole = json.loads((out / "annotations" / f"panoptic_{split}.json").read_text())
        assert [(each["id"], each["name"], each["isthing"]) for each in whole["categories"]] == [(1, "cat", 1), (2, "dog", 1)]
        images = {image["id"]: image for image in whole["images"]}
        for entry in whole["annotations"]:
            image = images[entry["image_id"]]
            assert (out / "images" / image["file_name"]).is_file()
            colours = numpy.asarray(Image.open(out / "annotations" / f"panoptic_{split}" / entry["file_name"])).astype(int)
            ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
            infos = {info["id"]: info for info in entry["segments_info"]}
            assert set(numpy.unique(ids)) - {0} == set(infos)
            place = int(image["original"].split(".")[0].split("/")[-1].removeprefix("photo "))
            masks = masks_of(place, height=40, width=52)
            assert [info["category_id"] for info in infos.values()] == [1, 2]
            for number, info in infos.items():
                assert ((ids == number) == masks[number - 1]).all()
                x, y, width, height = info["bbox"]
                assert info["area"] == masks[number - 1].sum() == masks[number - 1][y : y + height, x : x + width].sum()
                assert info["iscrowd"] == 0
            num_photos += 1
    assert num_photos == 5

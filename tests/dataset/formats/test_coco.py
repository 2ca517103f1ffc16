"""COCO exports, read by pycocotools and torchvision."""

import contextlib
import io

import numpy
from torchvision.datasets import CocoDetection

from mcdist.dataset.labels import LabelRule
from mcdist.workflows.dataset_export import export_dataset
from tests.makers.made_segments import masks_of


def read(path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_ids_masks_boxes_and_areas_are_exact(exports):
    out = exports("coco")
    seen, ids = set(), []
    for split in ("train", "val"):
        coco = read(out / "annotations" / f"instances_{split}.json")
        assert {category["id"]: category["name"] for category in coco.dataset["categories"]} == {1: "cat", 2: "dog"}
        for image in coco.loadImgs(coco.getImgIds()):
            place = int(image["original"].split(".")[0].split("/")[-1].removeprefix("photo "))
            masks = masks_of(place, height=40, width=52)
            annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
            assert [annotation["category_id"] for annotation in annotations] == [1, 2]
            assert [annotation["score"] for annotation in annotations] == [0.9, 0.8]
            for annotation, mask in zip(annotations, masks, strict=False):
                assert (coco.annToMask(annotation).astype(bool) == mask).all()
                assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0
                x, y, width, height = annotation["bbox"]
                assert mask[y : y + height, x : x + width].sum() == mask.sum()
            seen.add(place)
            ids += [annotation["id"] for annotation in annotations]
    assert seen == {0, 1, 2, 3, 4}, "the photo without a segment is left out"
    assert sorted(ids) == list(range(1, 11)), "an id occurs once in both files"


def test_torchvision_opens_it_beside_its_photos(exports):
    out = exports("coco")
    with contextlib.redirect_stdout(io.StringIO()):
        photos = CocoDetection(str(out / "images"), str(out / "annotations" / "instances_train.json"))
    photo, annotations = photos[0]
    assert photo.size == (52, 40) and len(annotations) == 2


def test_several_parts_are_several_polygons_and_a_hole_is_cut_into_its_own(exports, segmented, tmp_path):
    out = export_dataset(segmented[1], format="coco", out=tmp_path / "all", rule=LabelRule(0.0, "classes"), val_share=0.0).folder
    coco = read(out / "annotations" / "instances_train.json")
    image = coco.loadImgs(coco.getImgIds())[0]
    annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
    assert [len(annotation["segmentation"]) for annotation in annotations] == [1, 1, 3, 1]
    assert [coco.cats[annotation["category_id"]]["name"] for annotation in annotations] == ["cat", "dog", "dog", "unnamed cluster 7"]
    masks = masks_of(0, height=40, width=52)
    assert all((coco.annToMask(annotation) == mask).all() for annotation, mask in zip(annotations, masks, strict=True))


def test_the_file_is_valid_where_a_split_has_no_photo(segmented, tmp_path):
    out = export_dataset(segmented[1], format="coco", out=tmp_path / "one", rule=LabelRule(0.5), val_share=0.0).folder
    assert read(out / "annotations" / "instances_val.json").getImgIds() == []
    assert numpy.isfinite([annotation["area"] for annotation in read(out / "annotations" / "instances_train.json").dataset["annotations"]]).all()

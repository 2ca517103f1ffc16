"""Names of today reach segments of yesterday: naming, merging, splitting and rejecting after the photos were segmented."""

import json
from pathlib import Path

import numpy
import pytest

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.file import write_catalogue
from mcdist.catalogue.names_file import NamesFile
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.dataset.labels import LabelRule
from mcdist.dataset.run_names import names_of_run
from mcdist.dataset.segments import read_segments
from mcdist.errors import DataError
from mcdist.run_dir import RunDir
from mcdist.workflows.dataset_export import export_dataset
from tests.catalogue.worlds import axis_clusters, near_axes
from tests.makers.made_segments import masks_of, segment, write_classes, write_photo, write_segments

AXES = [0, 1, 2, 3]


def run_with_segments(root: Path) -> tuple[RunDir, NamesFile]:
    """A run with a catalogue of four clusters, and three photos with one segment near each of the clusters' directions."""
    run_dir = RunDir(root / "run").create()
    run_dir.config.write_text("model: {backbone: resnet18}\n")
    objects = CataloguedObjects(
        photo=numpy.zeros(4, dtype=numpy.int64),
        number=numpy.arange(1, 5, dtype=numpy.int32),
        area_px=numpy.full(4, 100),
        box=numpy.array([box_of(mask) for mask in masks_of(0, height=40, width=52)]),
        vector=near_axes(AXES),
        cluster=numpy.array(AXES, dtype=numpy.int32),
        confidence=numpy.full(4, 0.9, dtype=numpy.float32),
    )
    facts = CatalogueFacts(
        key="", checkpoint="0" * 64, step=7, dataset="/somewhere/shards", samples="", settings={}, seed=0, pca_dim=0, standing_out=0, agreement=None
    )
    sizes = numpy.array([[40, 52]])
    write_catalogue(run_dir.catalogue, facts=facts, clusters=axis_clusters(), objects=objects, photos=("photo_0",), sizes=sizes)
    photos, folder = root / "photos", run_dir.root / "segments"
    for place in range(3):
        name = f"photo {place}.jpg"
        write_photo(photos / name, height=40, width=52, seed=place)
        segments = [
            segment(axis + 1, mask, cluster=axis, name=None, class_id=0, confidence=0.9, vector=[round(float(each), 5) for each in vector])
            for axis, mask, vector in zip(AXES, masks_of(place, height=40, width=52), near_axes(AXES, seed=place), strict=True)
        ]
        write_segments(folder, photo=name, height=40, width=52, segments=segments)
    write_classes(folder, photos=photos)
    catalogue = Catalogue.open(run_dir)
    return run_dir, NamesFile(run_dir.names, catalogue=catalogue.key, num_clusters=4, num_objects=4, num_dims=6)


def box_of(mask: numpy.ndarray) -> list[float]:
    """Top, left, bottom, right as shares of the photo."""
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    return [rows[0] / 40, columns[0] / 52, (rows[-1] + 1) / 40, (columns[-1] + 1) / 52]


def classes_in(run_dir: RunDir, out: Path, **options) -> tuple[dict[str, str], dict[str, list[int]]]:
    """The exported classes, and the class ids of each photo's segments."""
    export_dataset(run_dir.root, format="coco", out=out, rule=LabelRule(0.5, options.get("unnamed", "void")), val_share=0.0)
    content = json.loads((out / "annotations" / "instances_train.json").read_text())
    ids: dict[str, list[int]] = {image["original"]: [] for image in content["images"]}
    originals = {image["id"]: image["original"] for image in content["images"]}
    for annotation in content["annotations"]:
        ids[originals[annotation["image_id"]]].append(annotation["category_id"])
    return {category["id"]: category["name"] for category in content["categories"]}, ids


def test_clusters_of_one_name_are_one_class_and_the_order_of_naming_numbers_them(tmp_path):
    run_dir, file = run_with_segments(tmp_path)
    file.change(lambda names: names.name(2, "dog"), revision=0)
    file.change(lambda names: names.name(0, "cat"), revision=1)
    file.change(lambda names: names.name(3, "dog"), revision=2)
    classes, ids = classes_in(run_dir, tmp_path / "out")
    assert classes == {1: "dog", 2: "cat"}
    assert ids == {f"photo {place}.jpg": [2, 1, 1] for place in range(3)}
    classes, ids = classes_in(run_dir, tmp_path / "all", unnamed="classes")
    assert classes == {1: "dog", 2: "cat", 3: "unnamed cluster 1"} and ids["photo 0.jpg"] == [2, 3, 1, 1]


def test_a_rename_changes_the_next_export_without_segmenting_again(tmp_path):
    run_dir, file = run_with_segments(tmp_path)
    file.change(lambda names: names.name(0, "cat"), revision=0)
    assert classes_in(run_dir, tmp_path / "out")[0] == {1: "cat"}
    file.change(lambda names: names.name(0, "tiger"), revision=1)
    assert classes_in(run_dir, tmp_path / "out")[0] == {1: "tiger"}
    assert "revision 2" in (tmp_path / "out" / "README.md").read_text()


def test_a_split_divides_segments_by_their_vectors(tmp_path):
    run_dir, file = run_with_segments(tmp_path)
    eye = numpy.eye(6, dtype=numpy.float32)
    halves = numpy.stack([eye[0] + 0.3 * eye[4], eye[0] - 0.3 * eye[4]]) / numpy.sqrt(1.09)
    file.change(lambda names: names.split(0, centroids=halves.astype(numpy.float32)), revision=0)
    file.change(lambda names: names.name(4, "left").name(5, "right"), revision=1)
    found = names_of_run(run_dir)
    for photo in read_segments(run_dir.root / "segments"):
        first = found.name(photo)[0]
        assert first.name == ("left" if photo.segments[0].vector[4] > 0 else "right")


def test_a_rejected_object_is_void_in_its_photo_alone(tmp_path):
    run_dir, file = run_with_segments(tmp_path)
    file.change(lambda names: names.name(0, "cat").name(1, "dog"), revision=0)
    file.change(lambda names: names.reject([1]), revision=2)
    _, ids = classes_in(run_dir, tmp_path / "out")
    assert ids == {"photo 0.jpg": [1], "photo 1.jpg": [1, 2], "photo 2.jpg": [1, 2]}
    assert "1 segments are void: a person rejected the object" in (tmp_path / "out" / "README.md").read_text()


def test_segments_of_another_run_are_refused(tmp_path):
    run_dir, file = run_with_segments(tmp_path)
    file.change(lambda names: names.name(0, "cat"), revision=0)
    path = run_dir.root / "segments" / "segments" / "photo 0.jpg.json"
    content = json.loads(path.read_text())
    content["segments"][0]["vector"] = [1.0, 0.0]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="of another run"):
        classes_in(run_dir, tmp_path / "out")

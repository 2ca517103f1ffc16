"""COCO becomes shards: instances, panoptic maps, COCO-Stuff labels and proposals, and what is wrong in them is said."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import webdataset
from PIL import Image
from pycocotools import mask as oracle
from pycocotools.coco import COCO
from typer.testing import Result

from mcdist.building.folder.job import shard_jobs
from mcdist.building.folder.split import without_items
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.sources.coco import plan as coco_plan
from mcdist.building.sources.coco.plan import CocoFiles, coco_source
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import Sample, decode_sample
from mcdist.errors import DataError
from tests.building.made_coco import HEIGHT, WIDTH, annotation, make_coco, rectangle, write_coco, write_panoptic
from tests.building.made_pictures import save_mask, save_photo

Run = Callable[..., Result]
ROOT = Path(__file__).parents[3]


def build(run: Run, root: Path, *options: object, out: str = "out") -> Result:
    return run("build", "coco", "--images", root / "images", "--out", root / out, "--workers", 1, *options)


def sample(root: Path, index: int = 0, *, out: str = "out", with_segments: bool = False) -> Sample:
    return decode_sample(WebDatasetReader(root / out).read(index, with_segments=with_segments), with_segments=with_segments)


def skipped(run: Run, root: Path, content: Any, *options: object) -> dict[str, str]:
    """Build with all skipping allowed: photo or annotation -> reason, of what was left out; `--strict` says the first."""
    path = write_coco(root, content)
    result = build(run, root, "--annotations", path, "--max-skipped-share", 0.9, *options)
    assert result.exit_code == 0, result.output
    listed = dict(read_manifest(root / "out").skipped)
    strict = build(run, root, "--annotations", path, "--strict", *options, out="strict")
    assert strict.exit_code == 3 and any(reason in strict.stderr for reason in listed.values())
    return listed


def test_instances_become_numbered_objects_with_the_smaller_on_top(run: Run, tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path))
    assert build(run, tmp_path, "--annotations", path).exit_code == 0
    found = sample(tmp_path, with_segments=True)
    wanted = numpy.zeros((HEIGHT, WIDTH), dtype=numpy.int16)
    wanted[4:20, 4:24] = 2
    wanted[8:14, 8:14] = 1
    assert (found.instances.numpy() == wanted).all()
    assert found.segments is not None and (found.segments.numpy() == numpy.array([0, 17, 1])[wanted]).all()
    manifest = read_manifest(tmp_path / "out")
    assert manifest.source == "coco" and manifest.options["classes"] == "0 background,1 person,17 cat"
    assert str(tmp_path) not in json.dumps(manifest.options), "the same data elsewhere gives the same manifest"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its tars open
def test_plain_webdataset_reads_the_tars(run: Run, tmp_path: Path) -> None:
    build(run, tmp_path, "--annotations", write_coco(tmp_path, make_coco(tmp_path)))
    (first, *_, last) = webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False)
    assert (first["__key__"], last["__key__"]) == ("000000000001", "000000000004")
    assert first["jpg"] == (tmp_path / "images" / "000000000001.jpg").read_bytes()
    info = json.loads(first["json"])
    assert info["source"] == "coco" and info["image_id"] == 1 and info["num_objects"] == 2
    assert {"mask.png", "seg.png"} <= first.keys()


def test_the_union_of_objects_is_that_of_pycocotools_on_real_photos(run: Run, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco128"
    path = folder / "annotations" / "instances_train2017.json"
    result = run("build", "coco", "--images", folder / "train2017", "--annotations", path, "--out", tmp_path / "out", "--workers", 2, "--strict")
    assert result.exit_code == 0, result.output
    coco = COCO(str(path))
    reader = WebDatasetReader(tmp_path / "out")
    for index in range(0, len(reader), 9):
        raw = reader.read(index, with_segments=True)
        found = decode_sample(raw, with_segments=True)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[int(raw.key)]))
        masks = numpy.stack([coco.annToMask(entry) for entry in annotations]).astype(bool)
        assert ((found.instances.numpy() > 0) == masks.any(axis=0)).all()
        smallest = numpy.where(masks, masks.sum(axis=(1, 2))[:, None, None], 1 << 40).argmin(axis=0)
        categories = numpy.where(masks.any(axis=0), numpy.array([entry["category_id"] for entry in annotations])[smallest], 0)
        assert found.segments is not None and (found.segments.numpy() == categories).mean() > 0.999, "ties of equal areas may differ"


def test_both_kinds_of_run_lengths_and_crowds_are_read(run: Run, tmp_path: Path) -> None:
    content = make_coco(tmp_path, num=1)
    mask = numpy.zeros((HEIGHT, WIDTH), dtype=numpy.uint8, order="F")
    mask[2:6, 2:10] = 1
    text = oracle.encode(mask)
    crowd = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 30, HEIGHT * 18]}
    content["annotations"] = [
        annotation(1, image_id=1, segmentation={"size": text["size"], "counts": text["counts"].decode()}),
        annotation(2, image_id=1, segmentation=crowd) | {"iscrowd": 1},
        annotation(3, image_id=1, segmentation=rectangle(26, 10, 20, 10), category_id=17),
    ]
    assert build(run, tmp_path, "--annotations", write_coco(tmp_path, content)).exit_code == 0
    found = sample(tmp_path, with_segments=True)
    wanted = numpy.zeros((HEIGHT, WIDTH), dtype=numpy.int16)
    wanted[:, 30:] = -1
    wanted[2:6, 2:10], wanted[10:20, 26:46] = 1, 2
    assert (found.instances.numpy() == wanted).all(), "a crowd is void, and lies below the objects"
    assert found.segments is not None and (found.segments.numpy() == numpy.array([0, 1, 17, 255])[wanted]).all()


def test_beyond_254_objects_the_largest_stay_and_hidden_ones_are_counted(run: Run, tmp_path: Path) -> None:
    content = make_coco(tmp_path, num=1)
    content["annotations"] = [annotation(1, image_id=1, segmentation=rectangle(0, 0, 40, 8))]
    content["annotations"] += [annotation(2 + index, image_id=1, segmentation=rectangle(index % 40, 10 + index // 40, 1, 1)) for index in range(300)]
    content["annotations"].append(annotation(999, image_id=1, segmentation=rectangle(0, 0, 40, 8)))
    result = build(run, tmp_path, "--annotations", write_coco(tmp_path, content))
    assert result.exit_code == 0
    assert "more than 254 objects, the smallest became void: 1 photos" in result.output
    assert "objects without a pixel of their own were left out: 1 photos" in result.output
    found = sample(tmp_path).instances
    assert found.max() == 254 and (found == -1).sum() == 301 - 254 and (found[0, :40] > 0).all()


def test_panoptic_things_are_objects_stuff_is_background_and_the_rest_void(run: Run, tmp_path: Path) -> None:
    make_coco(tmp_path)
    options = ("--panoptic", write_panoptic(tmp_path), "--panoptic-masks", tmp_path / "panoptic")
    assert build(run, tmp_path, *options).exit_code == 0
    found = sample(tmp_path, with_segments=True)
    wanted = numpy.full((HEIGHT, WIDTH), -1)
    wanted[:, 10:20], wanted[:, 20:40] = 1, 0
    assert (found.instances.numpy() == wanted).all()
    labels = numpy.full((HEIGHT, WIDTH), 255)
    labels[:, 10:20], labels[:, 20:40] = 1, 184
    assert found.segments is not None and (found.segments.numpy() == labels).all()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda root, content: (root / "panoptic" / "000000000002.png").unlink(), "panoptic map .*000000000002.png, found none"),
        (lambda root, content: save_mask(root / "panoptic" / "000000000002.png"), "is no RGB PNG; take the original file"),
        (lambda root, content: save_photo(root / "panoptic" / "000000000002.png"), "holds the id .*, which none of its 3 segments has"),
        (lambda root, content: save_photo(root / "panoptic" / "000000000002.png", width=9), "is 9 x 32, its photo 48 x 32"),
        (lambda root, content: content["annotations"][1].update(file_name="../000000000002.png"), "expected a panoptic annotation"),
        (lambda root, content: content["annotations"][1]["segments_info"][0].update(category_id=5), "category_id 5 is none of the file's 3"),
        (lambda root, content: content["annotations"].pop(1), "expected one panoptic annotation for the photo, found 0"),
    ],
)
def test_an_unsound_panoptic_map_is_said(run: Run, tmp_path: Path, spoil: Callable[[Path, Any], Any], why: str) -> None:
    make_coco(tmp_path)
    path = write_panoptic(tmp_path)
    content = json.loads(path.read_text())
    spoil(tmp_path, content)
    write_coco(tmp_path, content, name="panoptic.json")
    options = ("--panoptic", path, "--panoptic-masks", tmp_path / "panoptic", "--max-skipped-share", 0.5)
    assert build(run, tmp_path, *options).exit_code == 0
    ((photo, reason),) = read_manifest(tmp_path / "out").skipped
    assert photo == "000000000002.jpg"
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(reason)


@pytest.mark.parametrize("labels", ["coarse", "fine", "none"])
def test_stuff_maps_become_labels(run: Run, tmp_path: Path, labels: str) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path))
    for number in range(1, 5):
        values = numpy.full((HEIGHT, WIDTH), 255, dtype=numpy.uint8)
        values[:, :10], values[:, 10:20], values[:, 20:30] = 0, 181, 168
        save_mask(tmp_path / "stuff" / f"{number:012d}.png", values=values)
    assert build(run, tmp_path, "--annotations", path, "--stuff", tmp_path / "stuff", "--labels", labels).exit_code == 0
    if labels == "none":
        assert not WebDatasetReader(tmp_path / "out").num_with("seg.png")
        return
    found = sample(tmp_path, with_segments=True).segments
    assert found is not None
    classes = str(read_manifest(tmp_path / "out").options["classes"]).split(",")
    assert len(classes) == {"coarse": 27, "fine": 171}[labels]
    seen = [classes[int(found[0, column])] for column in (0, 10, 20)]
    assert seen == {"coarse": ["person-things", "solid-stuff", "plant-stuff"], "fine": ["person", "wood", "tree"]}[labels]
    assert found[0, 40] == 255


def test_a_number_that_no_stuff_map_holds_is_said(run: Run, tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path, num=2))
    for number, wrong in ((1, 11), (2, 200)):
        save_mask(tmp_path / "stuff" / f"{number:012d}.png", values=numpy.full((HEIGHT, WIDTH), wrong, dtype=numpy.uint8))
    result = build(run, tmp_path, "--annotations", path, "--stuff", tmp_path / "stuff", "--max-skipped-share", 1)
    assert result.exit_code == 3 and "holds 11, expected 0 to 181" in result.stderr


@pytest.mark.parametrize("owner", ["image_id", "file_name"])
def test_photos_without_annotations_take_scored_proposals(run: Run, tmp_path: Path, owner: str) -> None:
    make_coco(tmp_path, num=2)
    proposals = []
    for number in (1, 2):
        name = {"image_id": number} if owner == "image_id" else {"file_name": f"{number:012d}.jpg"}
        proposals.append({**name, "segmentation": rectangle(4, 4, 20, 16), "score": 0.9})
        proposals.append({**name, "segmentation": rectangle(30, 4, 6, 16), "score": 0.2})
    path = write_coco(tmp_path, proposals, name="rle.json")
    assert build(run, tmp_path, "--masks", path).exit_code == 0
    assert sample(tmp_path).instances.unique().tolist() == [0, 1, 2]
    assert not WebDatasetReader(tmp_path / "out").num_with("seg.png")
    assert build(run, tmp_path, "--masks", path, "--min-score", 0.5, out="high").exit_code == 0
    assert sample(tmp_path, out="high").instances.unique().tolist() == [0, 1]


def test_photos_without_annotations_take_a_folder_of_masks(run: Run, tmp_path: Path) -> None:
    make_coco(tmp_path, num=2)
    for number in (1, 2):
        save_mask(tmp_path / "masks" / f"{number:012d}.png")
    assert build(run, tmp_path, "--masks", tmp_path / "masks").exit_code == 0
    assert sample(tmp_path).instances.unique().tolist() == [-1, 0, 1, 2]


def test_a_list_of_photos_without_annotations_takes_proposals_and_has_no_labels(run: Run, tmp_path: Path) -> None:
    content = make_coco(tmp_path, num=3)
    listed = write_coco(tmp_path, {"info": {}, "images": content["images"][:2]}, name="image_info_unlabeled.json")
    proposals = [{"image_id": number, "segmentation": rectangle(4, 4, 20, 16)} for number in (1, 2, 3)]
    path = write_coco(tmp_path, proposals, name="rle.json")
    assert build(run, tmp_path, "--annotations", listed, "--masks", path, "--strict").exit_code == 0
    reader = WebDatasetReader(tmp_path / "out")
    assert len(reader) == 2 and not reader.num_with("seg.png")


@pytest.mark.parametrize(
    ("spoil", "photo", "why"),
    [
        (lambda c: c["annotations"][2].update(segmentation=rectangle(-9, 4, 20, 8)), "000000000002.jpg", "annotation 4: a polygon's x runs from -9"),
        (lambda c: c["annotations"][2].update(bbox=[40, 4, 20, 8]), "000000000002.jpg", "annotation 4: the box's x runs from 40 to 60 px"),
        (lambda c: c["annotations"][2].update(bbox=[4, 4, -2, 8]), "000000000002.jpg", "annotation 4: the box .* negative width"),
        (lambda c: c["annotations"][2].update(category_id=5), "000000000002.jpg", "annotation 4: category_id 5 is none of the file's 2"),
        (lambda c: c["annotations"][2].update(score="high"), "000000000002.jpg", "annotation 4: the score is 'high'"),
        (lambda c: c["annotations"][2].pop("segmentation"), "000000000002.jpg", "annotation 4: the segmentation is neither"),
        (lambda c: c["annotations"].__delitem__(slice(2, 4)), "000000000002.jpg", "no object in instances.json"),
        (lambda c: c["annotations"][2].update(image_id=77), "instances.json, annotations of image 77", "1 annotations, and there is no such image"),
        (lambda c: c["annotations"].append("x"), "instances.json, annotation at byte", "expected an object with image_id"),
        (lambda c: c["images"][1].update(width=40), "000000000002.jpg", "the annotations of 000000000002.jpg at its photo's size 48 x 32, it is 40 x 32"),
        (lambda c: c["images"][1].update(width=-40), "instances.json, image 2", "width and height are"),
        (lambda c: c["images"][1].update(file_name="gone.jpg"), "gone.jpg", "expected a photo at .*gone.jpg, found none"),
        (lambda c: c["images"][1].update(file_name="../2.jpg"), "instances.json, image 2", "leads out of the folder"),
        (lambda c: c["images"][1].update(file_name="/etc/x.jpg"), "instances.json, image 2", "leads out of the folder"),
        (lambda c: c["images"][1].update(file_name="a\0b.jpg"), "instances.json, image 2", "leads out of the folder"),
        (lambda c: c["images"].append({"id": 2, "file_name": "again.jpg"}), "instances.json, image 2", "is already that of another image"),
        (lambda c: c["images"].append({"id": 9, "file_name": "000000000002.jpg"}), "instances.json, image 9", "already has another id"),
        (lambda c: c["images"].append({"id": "9"}), "instances.json, image at byte", "whole `id` and a `file_name`"),
        (lambda c: c["categories"].append({"name": "x"}), "instances.json, category at byte", "whole `id`"),
    ],
)
def test_what_is_wrong_is_skipped_counted_and_listed_and_strict_stops(run: Run, tmp_path: Path, spoil: Callable[[Any], Any], photo: str, why: str) -> None:
    content = make_coco(tmp_path)
    spoil(content)
    listed = skipped(run, tmp_path, content)
    reasons = [reason for what, reason in listed.items() if what.startswith(photo)]
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(*reasons)
    assert len(listed) <= 2 and read_manifest(tmp_path / "out").num_samples >= 3


@pytest.mark.parametrize(("content", "why"), [(b"", "is empty"), (b"\xff\xd8\xff\xe0 cut", "damaged"), (b"GIF89a", "neither JPEG nor PNG")])
def test_a_spoiled_photo_is_skipped(run: Run, tmp_path: Path, content: bytes, why: str) -> None:
    coco = make_coco(tmp_path)
    (tmp_path / "images" / "000000000003.jpg").write_bytes(content)
    ((photo, reason),) = skipped(run, tmp_path, coco).items()
    assert photo == "000000000003.jpg" and why in reason


def test_a_photo_that_claims_too_many_pixels_is_not_decoded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco = make_coco(tmp_path)
    monkeypatch.setattr("mcdist.data.pictures.header.MAX_PIXELS", 1000)
    result = build(run, tmp_path, "--annotations", write_coco(tmp_path, coco), "--strict")
    assert result.exit_code == 3 and "has 48 x 32 pixels, more than 1000" in result.stderr


@pytest.mark.parametrize(
    ("options", "exit_code", "parts"),
    [
        ((), 2, ("masks from annotations need --annotations FILE",)),
        (("--masks", "panoptic"), 2, ("masks from panoptic need --panoptic FILE",)),
        (("--panoptic", "p.json"), 2, ("belong together",)),
        (("--annotations", "{instances}", "--labels", "fine"), 2, ("--labels fine needs COCO-Stuff's maps", "--stuff DIR")),
        (("--masks", "{images}", "--labels", "categories"), 2, ("--labels categories needs --annotations",)),
        (("--annotations", "nowhere.json"), 3, ("nowhere.json", "No such file", "check the path")),
        (("--annotations", "{results}"), 3, ("expected a COCO file with `images` at", "results.json")),
        (("--annotations", "{broken}"), 3, ("broken.json is no JSON", "at byte 12")),
        (("--annotations", "{info}"), 3, ("expected annotations in", "info.json", "--masks FOLDER")),
        (("--annotations", "{instances}", "--masks", "{instances}"), 3, ("expected proposals in", "it is an object")),
        (("--annotations", "{instances}", "--masks", "nowhere"), 3, ("expected the folder of masks at nowhere",)),
        (("--annotations", "{many}"), 3, ("labels hold category ids 1 to 254", "many.json has category 300", "--labels none")),
    ],
)
def test_options_and_files_that_do_not_fit_are_one_sentence(run: Run, tmp_path: Path, options: tuple[str, ...], exit_code: int, parts: tuple[str, ...]) -> None:
    content = make_coco(tmp_path)
    made: dict[str, Any] = {"instances": content, "results": [{"image_id": 1}], "info": {**content, "annotations": []}}
    made["many"] = {**content, "categories": [*content["categories"], {"id": 300, "name": "x"}]}
    paths = {name: str(write_coco(tmp_path, value, name=f"{name}.json")) for name, value in made.items()}
    (tmp_path / "broken.json").write_text('{"images": [')
    paths |= {"broken": str(tmp_path / "broken.json"), "images": str(tmp_path / "images")}
    result = build(run, tmp_path, *(option.format(**paths) if option.startswith("{") else option for option in options))
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("mcdist: ") and all(part in line for part in parts), line


def test_an_annotation_file_that_changes_during_the_build_is_noticed(tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path))
    source = coco_source(CocoFiles(tmp_path / "images", path), treatment=Treatment())
    path.write_text(" " + path.read_text())
    with pytest.raises(DataError, match="is not what it was when the build began"):
        source.make(source.items[0])


def test_a_job_carries_its_own_photos_and_no_others(tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path, num=8))
    source = coco_source(CocoFiles(tmp_path / "images", path), treatment=Treatment())
    job, *_ = shard_jobs(source, folder=tmp_path / "out", shard_size=2, strict=False, packing=None)
    carried = pickle.dumps((job, without_items(source)))
    assert b"000000000002.jpg" in carried and b"000000000003.jpg" not in carried and b"segmentation" not in carried


def test_without_pycocotools_masks_of_a_folder_still_build(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path, num=1))
    save_mask(tmp_path / "masks" / "000000000001.png")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    missing = build(run, tmp_path, "--annotations", path)
    assert missing.exit_code == 6 and "pip install 'mcdist[coco]'" in missing.stderr and not (tmp_path / "out").exists()
    assert build(run, tmp_path, "--annotations", path, "--masks", tmp_path / "masks", "--labels", "none").exit_code == 0


def test_rebuilds_are_byte_identical_with_any_number_of_workers_and_another_order_of_sections(run: Run, tmp_path: Path) -> None:
    content = make_coco(tmp_path)
    path = write_coco(tmp_path, content)
    for out, workers in (("one", 1), ("two", 2)):
        assert build(run, tmp_path, "--annotations", path, "--shard-size", 2, "--workers", workers, out=out).exit_code == 0
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / out).iterdir()} for out in ("one", "two"))
    assert one == two and len(one) == 5
    first = coco_plan.coco_source(CocoFiles(tmp_path / "images", path), treatment=Treatment())
    turned = write_coco(tmp_path, dict(reversed(content.items())), name="turned.json")
    second = coco_plan.coco_source(CocoFiles(tmp_path / "images", turned), treatment=Treatment())
    assert [first.make(item) for item in first.items][0].members["mask.png"] == [second.make(item) for item in second.items][0].members["mask.png"]


def test_the_script_runs_from_a_clone_that_is_not_installed(tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path, num=3))
    command = [sys.executable, str(ROOT / "shards" / "coco.py"), "--images", "images", "--annotations", path.name, "--out", "out", "--workers", "1"]
    done = subprocess.run([*command, "--shard-size", "2"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 photos in 2 shards" in done.stdout and "photos/s" in done.stdout
    assert len(WebDatasetReader(tmp_path / "out")) == 3


def test_short_side_shrinks_photo_objects_and_labels_together(run: Run, tmp_path: Path) -> None:
    path = write_coco(tmp_path, make_coco(tmp_path))
    assert build(run, tmp_path, "--annotations", path, "--short-side", 16, "--jpeg-quality", 100).exit_code == 0
    found = sample(tmp_path, with_segments=True)
    assert tuple(found.photo.shape) == (3, 16, 24) and found.instances.unique().tolist() == [0, 1, 2]
    assert found.segments is not None and tuple(found.segments.shape) == (16, 24)
    with Image.open(tmp_path / "images" / "000000000001.jpg") as image:
        wanted = numpy.asarray(image.convert("RGB")).reshape(16, 2, 24, 2, 3).mean(axis=(1, 3, 4))
    assert abs(found.photo.numpy().mean(axis=0) - wanted).mean() < 4, "a box filter takes the mean of each area"
    options = read_manifest(tmp_path / "out").options
    assert options["resize_filter"] == "box" and options["jpeg_quality"] == 100

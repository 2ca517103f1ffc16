"""Exports as a whole: the same bytes again, an old export that nothing harms, names that cannot lead out, and one sentence for each thing that is wrong."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from PIL import Image
from typer.testing import CliRunner

from mcdist.cli.main import app
from mcdist.dataset.folder import MARK_NAME
from mcdist.dataset.formats import format as format_module
from mcdist.dataset.formats.registry import FORMATS
from mcdist.dataset.labels import LabelRule
from mcdist.errors import ConfigError, DataError, HeldError, MachineError
from mcdist.workflows.dataset_export import export_dataset
from tests.makers.made_segments import blob, made_segments, segment, write_classes, write_photo, write_segments

RULE = LabelRule(0.5)


def digest_of(folder: Path) -> dict[str, str]:
    """Every file's name and content."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_segments(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_export_has_the_same_bytes(made, tmp_path, format):
    first = export_dataset(made[1], format=format, out=tmp_path / "out", rule=RULE).folder
    before = digest_of(first)
    assert digest_of(export_dataset(made[1], format=format, out=tmp_path / "out", rule=RULE).folder) == before
    assert digest_of(export_dataset(made[1], format=format, out=tmp_path / "elsewhere", rule=RULE).folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out"], "nothing is left beside"
    content = "".join(path.read_text(errors="replace") for path in first.rglob("*") if path.suffix in (".json", ".md", ".yaml", ".txt", ".xml"))
    assert str(tmp_path.parent) not in content, "no path of this machine"


def test_the_card_says_how_labels_came_to_be(made, tmp_path):
    card = (export_dataset(made[1], format="coco", out=tmp_path / "out", rule=RULE).folder / "README.md").read_text()
    for part in (
        "5 photos (",
        "10 labelled segments",
        "| 1 | cat | 5 | 5 |",
        "confidence is at least 0.5",
        "5 segments are void: their confidence is below 0.5",
        "5 segments are void: their cluster has no name",
        "1 photos have no labelled segment and are left out",
    ):
        assert part in card, part


def test_photos_keep_their_bytes_unless_they_are_turned(tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "segmented"
    entry = segment(1, blob(40, 52, top=2, left=2, bottom=20, right=20), cluster=0, name="cat", class_id=1, confidence=1.0, vector=[1.0])
    for name, orientation in (("plain.jpg", 1), ("turned.jpg", 6)):
        write_photo(photos / name, height=40, width=52, seed=1, orientation=orientation)
        write_segments(folder, photo=name, height=40, width=52, segments=[entry])
    write_classes(folder, photos=photos)
    out = export_dataset(folder, format="coco", out=tmp_path / "out", rule=RULE).folder
    assert (out / "images" / "plain.jpg").read_bytes() == (photos / "plain.jpg").read_bytes()
    with Image.open(out / "images" / "turned.jpg") as turned:
        assert turned.size == (52, 40) and turned.getexif().get(0x0112, 1) == 1


def test_names_of_photos_and_classes_can_do_no_harm(tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "segmented"
    names = [
        "a/../../b.jpg".replace("/../../", "/"),
        "CON.jpg",
        "x" * 120 + ".jpg",
        "-rf.jpg",
        "naïve <b>.jpg",
        "same.jpg",
        "same.png",
        "a__b.jpg",
        "new\nline.jpg",
    ]
    for place, name in enumerate(names):
        write_photo(photos / name, height=20, width=20, seed=place)
        entry = segment(1, blob(20, 20, top=2, left=2, bottom=18, right=18), cluster=0, name='<script>"&|\n`', class_id=1, confidence=1.0, vector=[1.0])
        write_segments(folder, photo=name, height=20, width=20, segments=[entry])
    write_classes(folder, photos=photos)
    for format in FORMATS:
        out = export_dataset(folder, format=format, out=tmp_path / format, rule=RULE, val_share=0.0).folder
        pictures = [path for path in out.rglob("*") if path.suffix in (".jpg", ".png") and "Segmentation" not in str(path) and "panoptic_" not in str(path)]
        assert len(pictures) == len(names), "two photos never share a name"
        assert all(path.name.isascii() and "\n" not in path.name for path in out.rglob("*"))
        assert "<script>" not in (out / "README.md").read_text()
    mark = json.loads((tmp_path / "coco" / "mcdist_dataset.json").read_text())
    assert sorted(photo["original"] for photo in mark["photos"]) == sorted(names)


def test_a_name_that_leads_out_is_refused_before_anything_is_written(made, tmp_path):
    _, folder = made_segments(tmp_path)
    path = next((folder / "segments").rglob("*.json"))
    path.write_text(path.read_text().replace(json.loads(path.read_text())["photo"], "../../secret.jpg"))
    with pytest.raises(DataError, match="leads out of its folder"):
        export_dataset(folder, format="coco", out=tmp_path / "out", rule=RULE)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_old_export_as_it_was(made, tmp_path, monkeypatch):
    out = export_dataset(made[1], format="voc", out=tmp_path / "out", rule=RULE).folder
    before = digest_of(out)
    num_written = 0
    real = Path.write_bytes

    def full(path, content):
        nonlocal num_written
        num_written += 1
        if num_written > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, content)

    monkeypatch.setattr(format_module.Path, "write_bytes", full)
    with pytest.raises(MachineError, match="No space left on device; free some space or choose another --out; what was there before is untouched"):
        export_dataset(made[1], format="voc", out=tmp_path / "out", rule=LabelRule(0.9))
    monkeypatch.undo()
    assert digest_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import sys, time
from pathlib import Path
from mcdist.dataset.labels import LabelRule
from mcdist.workflows.dataset_export import export_dataset

def tick(num):
    print("photo", flush=True)
    time.sleep(60)

export_dataset(Path(sys.argv[1]), format="coco", out=Path(sys.argv[2]), rule=LabelRule(0.9), tick=tick)
"""


@pytest.mark.slow
def test_a_killed_export_leaves_the_old_one_and_the_next_is_whole(made, tmp_path):
    out = tmp_path / "out"
    before = digest_of(export_dataset(made[1], format="coco", out=out, rule=RULE).folder)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(made[1]), str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"photo\n"
        with pytest.raises(HeldError):
            export_dataset(made[1], format="coco", out=out, rule=RULE)
        assert digest_of(out) == before
        process.send_signal(signal.SIGKILL)
    time.sleep(0.05)
    assert digest_of(out) == before and (tmp_path / ".out.new").is_dir()
    assert digest_of(export_dataset(made[1], format="coco", out=out, rule=RULE).folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_killed_between_its_renames_gives_the_old_one_back(made, tmp_path):
    out = export_dataset(made[1], format="coco", out=tmp_path / "out", rule=RULE).folder
    before = digest_of(out)
    out.rename(tmp_path / ".out.old")
    (tmp_path / ".out.new").mkdir()
    with pytest.raises(DataError):
        export_dataset(made[1], format="coco", out=out, rule=RULE, photos=tmp_path / ".out.new")
    assert digest_of(out) == before


def refused(made, tmp_path, **options):
    arguments = {"format": "coco", "out": tmp_path / "out", "rule": RULE, **options}
    return export_dataset(made[1], **arguments)


def test_what_is_wrong_is_one_sentence(made, tmp_path):
    with pytest.raises(ConfigError, match="unknown format 'coca'; known: coco, coco-panoptic, voc, yolo-seg, labelme"):
        refused(made, tmp_path, format="coca")
    with pytest.raises(ConfigError, match="min-confidence must be in 0..1"):
        LabelRule(1.5)
    with pytest.raises(DataError, match="no segment of 6 photos has a label .*; lower --min-confidence"):
        refused(made, tmp_path, rule=LabelRule(0.99))
    with pytest.raises(DataError, match="expected the folder of photos"):
        refused(made, tmp_path, photos=tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected a photo at"):
        (tmp_path / "empty").mkdir()
        refused(made, tmp_path, photos=tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something that mcdist export-dataset did not write"):
        refused(made, tmp_path, out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ConfigError, match="it is a file or a link"):
        refused(made, tmp_path, out=tmp_path / "mine" / "thesis.txt")


def test_a_class_with_a_name_that_the_format_reserves_is_refused(tmp_path):
    _, folder = made_segments(tmp_path)
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().replace('"cat"', '"__ignore__"'))
    with pytest.raises(ConfigError, match="the format labelme has a meaning of its own for __ignore__; give the class another name in mcdist view"):
        export_dataset(folder, format="labelme", out=tmp_path / "labelme", rule=RULE)
    assert not (tmp_path / "labelme").exists()
    export_dataset(folder, format="coco", out=tmp_path / "coco", rule=RULE)


def test_a_photo_that_changed_since_is_refused(tmp_path):
    photos, folder = made_segments(tmp_path)
    write_photo(photos / "trip" / "1.jpg", height=41, width=52, seed=9)
    with pytest.raises(DataError, match="is 52 x 41, it was 52 x 40 when it was segmented"):
        export_dataset(folder, format="coco", out=tmp_path / "out", rule=RULE)


def test_the_command_says_what_it_wrote(made, tmp_path):
    result = CliRunner().invoke(app, ["export-dataset", str(made[1]), "--format", "voc", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "5 photos" in result.output and "1 cat: 5 segments" in result.output and "void, no name: 5 segments" in result.output
    assert "left out: 1 photos without a labelled segment" in result.output


def test_a_class_map_painted_from_a_folder_of_other_sizes_is_as_large_as_its_photo(tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "segmented"
    for place, (height, width) in enumerate([(1, 1), (7, 300), (120, 5)]):
        mask = numpy.ones((height, width), dtype=bool)
        write_photo(photos / f"{place}.png", height=height, width=width, seed=place)
        write_segments(
            folder,
            photo=f"{place}.png",
            height=height,
            width=width,
            segments=[segment(1, mask, cluster=0, name="cat", class_id=1, confidence=1.0, vector=[1.0])],
        )
    write_classes(folder, photos=photos)
    for format in FORMATS:
        export_dataset(folder, format=format, out=tmp_path / format, rule=RULE, val_share=0.0)
    root = tmp_path / "voc" / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    for place, size in enumerate([(1, 1), (300, 7), (5, 120)]):
        with Image.open(root / f"{place}.png") as classes:
            assert classes.size == size and classes.getextrema() == (1, 1)
    shapes = json.loads((tmp_path / "labelme" / "train" / "0.json").read_text())["shapes"]
    assert [shape["shape_type"] for shape in shapes] == ["mask"], "labelme refuses a polygon of one corner"


def test_an_earlier_export_that_somebody_changed_is_kept_beside(tmp_path: Path) -> None:
    _, segmented = made_segments(tmp_path, num_photos=6)
    out = tmp_path / "dataset"
    said: list[str] = []
    for _ in range(2):
        export_dataset(segmented, format="labelme", out=out, rule=RULE, say=said.append)
    assert said == []
    label = next(path for path in sorted(out.rglob("*.json")) if path.name != MARK_NAME)
    label.write_text('{"edited": 1}')
    (out / "note.txt").write_text("mine")
    export_dataset(segmented, format="labelme", out=out, rule=RULE, say=said.append)
    kept = tmp_path / "dataset_earlier_1"
    assert [f"kept as {kept}" in line for line in said] == [True]
    assert (kept / label.relative_to(out)).read_text() == '{"edited": 1}' != label.read_text()
    assert (kept / "note.txt").read_text() == "mine" and not (out / "note.txt").exists()


def test_the_card_of_clusters_that_nobody_named_says_so(tmp_path: Path) -> None:
    photos, segmented = tmp_path / "photos", tmp_path / "segmented"
    write_photo(photos / "a.png", height=40, width=52, seed=0)
    mask = blob(40, 52, top=2, left=2, bottom=14, right=14)
    only = segment(1, mask, cluster=3, name="unnamed cluster 3", class_id=1, confidence=0.9, vector=[1.0, 0.0])
    write_segments(segmented, photo="a.png", height=40, width=52, segments=[only])
    write_classes(segmented, photos=photos)
    out = export_dataset(segmented, format="coco", out=tmp_path / "out", rule=LabelRule(0.5, "classes")).folder
    card = (out / "README.md").read_text()
    assert "nobody has named\na cluster yet" in card and "a person named" not in card

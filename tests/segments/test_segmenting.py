"""mcdist segment: maps, overlays and JSON of every photo; stopped and continued, shared out, and refused where it would mix two things."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy
import pytest
from PIL import Image
from typer.testing import CliRunner

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.names_of_run import classes_of, names_of
from mcdist.cli.main import app
from mcdist.data.pictures.coco_runs import mask_of_runs, runs_of
from mcdist.data.pictures.map_file import read_map
from mcdist.data.readers.open import open_shards
from mcdist.errors import CheckpointError, ConfigError, DataError, MachineError
from mcdist.run_dir import RunDir
from mcdist.segments import out as out_module
from mcdist.workflows.segmenting import Segmented, segment_run


def segment(run_dir: RunDir, photos: Path, out: Path, **options) -> Segmented:
    return segment_run(run_dir, [photos], out=out, device="cpu", num_workers=0, **options)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def out(run_dir: RunDir, photos: Path, tmp_path_factory: pytest.TempPathFactory, num_sound: int) -> Path:
    folder = tmp_path_factory.mktemp("out") / "segments"
    assert segment(run_dir, photos, folder).done.num_made == num_sound
    return folder


def contents(out: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted((out / "segments").rglob("*.json"))]


def test_every_sound_photo_has_a_map_an_overlay_and_segments_under_its_own_name(out: Path, photos: Path, num_sound: int) -> None:
    assert len(contents(out)) == num_sound and any(content["segments"] for content in contents(out))
    names = {int(one["id"]): one["name"] for one in json.loads((out / "classes.json").read_text())["classes"]}
    for content in contents(out):
        size = (content["height"], content["width"])
        classes = read_map((out / "maps" / f"{content['photo']}.png").read_bytes())
        with Image.open(out / "maps" / f"{content['photo']}.png") as shown, Image.open(out / "overlays" / f"{content['photo']}.jpg") as overlay:
            assert (classes.shape, shown.mode, overlay.size) == (size, "P", size[::-1])
        drawn = numpy.zeros(size, dtype=int)
        for one in content["segments"]:
            mask = mask_of_runs(runs_of(one["rle"]["counts"], where=""), width=size[1], height=size[0], where="")
            left, top, width, height = one["box_xywh"]
            rows, columns = numpy.nonzero(mask)
            assert (one["area_px"], left, top) == (mask.sum(), columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
            assert not drawn[mask].any() and names[one["class_id"]] == one["class"] and 0 < one["confidence"] <= 1
            assert one["second"]["class"] != one["class"] and one["second"]["confidence"] <= 1
            assert numpy.linalg.norm(one["vector"]) == pytest.approx(1, abs=1e-3)
            drawn[mask] = one["class_id"]
        assert numpy.array_equal(classes, drawn)


def test_a_turned_photo_is_upright_and_names_keep_their_suffix(out: Path) -> None:
    sizes = {content["photo"]: (content["width"], content["height"]) for content in contents(out)}
    assert sizes["turned.jpg"] == (20, 60) and sizes["dot.png"] == (1, 1) and sizes["wide.png"] == (400, 8)
    assert {"a.jpg", "a.png", "deep/er/palette é.png", "deep/see through.png"} <= sizes.keys()


def test_what_cannot_be_read_is_listed_with_the_reason_and_stops_nothing(run_dir: RunDir, photos: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["segment", str(run_dir.root), str(photos), "--out", str(tmp_path / "out"), "--device", "cpu", "--workers", "0"])
    assert said.exit_code == 0 and "12 photos, 9 of them now" in said.stdout and "3 photos, listed in" in said.stdout
    listed = json.loads((tmp_path / "out" / "not_segmented-1-of-1.json").read_text())
    assert {one["photo"]: one["reason"].split(" ")[1] for one in listed} == {"cut.jpg": "damaged", "empty.png": "empty;", "other.gif": "neither"}


def test_a_training_photo_gives_the_catalogues_own_objects_back(run_dir: RunDir, tmp_path: Path) -> None:
    catalogue = Catalogue.open(run_dir)
    pictures = tmp_path / "photos"
    pictures.mkdir()
    reader = open_shards(catalogue.facts.dataset)
    for index, key in enumerate(catalogue.photos):
        content = reader.read(index).photo
        assert isinstance(content, bytes)
        (pictures / f"{key}.png").write_bytes(content)
    segment(run_dir, pictures, tmp_path / "out")
    segments = {content["photo"].removesuffix(".png"): content["segments"] for content in contents(tmp_path / "out")}
    num_seen = 0
    for row in range(len(catalogue.objects)):
        photo = int(catalogue.objects.photo[row])
        found = {one["number"]: one for one in segments[catalogue.photos[photo]]}[int(catalogue.objects.number[row])]
        height, width = catalogue.sizes[photo]
        top, left, bottom, right = catalogue.objects.box[row] * numpy.array([height, width, height, width])
        assert (found["area_px"], found["cluster"]) == (catalogue.objects.area_px[row], catalogue.objects.cluster[row])
        assert found["box_xywh"] == pytest.approx([left, top, right - left, bottom - top], abs=1e-6)
        assert found["vector"] == pytest.approx(catalogue.objects.vector[row].tolist(), abs=5e-5)
        assert found["confidence"] == pytest.approx(float(catalogue.objects.confidence[row]), abs=2e-3)
        num_seen += 1
    assert num_seen == sum(map(len, segments.values()))


def test_a_stopped_one_goes_on_and_leaves_the_same_bytes(run_dir: RunDir, photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    put = out_module._put

    def full_after_some(path: Path, content: bytes) -> None:
        if len(written) == 8:
            raise MachineError("no space left")
        written.append(path)
        put(path, content)

    monkeypatch.setattr(out_module, "_put", full_after_some)
    with pytest.raises(MachineError, match="no space left"):
        segment(run_dir, photos, tmp_path / "out")
    monkeypatch.undo()
    kept = len(contents(tmp_path / "out"))
    first = next((tmp_path / "out" / "segments").rglob("*.json"))
    first.write_bytes(b"")  # as after a power cut
    done = segment(run_dir, photos, tmp_path / "out").done
    assert done.num_kept == kept - 1 and 0 < kept < done.num_photos
    assert files_of(tmp_path / "out") == files_of(out)
    assert segment(run_dir, photos, tmp_path / "out").done.num_made == 0


def test_parts_leave_the_same_bytes_as_one(run_dir: RunDir, photos: Path, out: Path, tmp_path: Path) -> None:
    for part in (2, 3, 1):
        segment(run_dir, photos, tmp_path / "out", part=part, num_parts=3)
    one, parts = files_of(out), files_of(tmp_path / "out")
    listed = [entry for name in list(parts) if name.startswith("not_segmented") for entry in json.loads(parts.pop(name))]
    assert sorted(listed, key=lambda entry: entry["photo"]) == json.loads(one.pop("not_segmented-1-of-1.json"))
    assert parts == one


def test_new_names_and_changed_photos_are_segmented_again_and_nothing_else(run_dir: RunDir, photos: Path, tmp_path: Path) -> None:
    run, pictures = tmp_path / "run", tmp_path / "photos"
    shutil.copytree(run_dir.root, run)
    shutil.copytree(photos, pictures)
    named = RunDir(run)
    segment(named, pictures, tmp_path / "out")
    before = {content["photo"]: content["segments"] for content in contents(tmp_path / "out")}
    Image.new("RGB", (31, 17)).save(pictures / "a.png")
    assert segment(named, pictures, tmp_path / "out").done.num_made == 1
    catalogue = Catalogue.open(named)
    names_of(named, catalogue=catalogue).change(lambda names: names.name(0, "cat").name(2, "cat"), revision=0)
    assert segment(named, pictures, tmp_path / "out").done.num_kept == 0
    assert classes_of(named, catalogue=catalogue).names[:2] == ("background", "cat")
    seen = set()
    for content in contents(tmp_path / "out"):
        if content["photo"] != "a.png":
            assert [one["cluster"] for one in content["segments"]] == [one["cluster"] for one in before[content["photo"]]]
            seen |= {(one["cluster"], one["class"], one["class_id"]) for one in content["segments"]}
    assert seen and {entry for entry in seen if entry[0] in (0, 2)} <= {(0, "cat", 1), (2, "cat", 1)}


def test_an_out_of_another_catalogue_window_or_purpose_is_refused(run_dir: RunDir, photos: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds other segments \(window_px is 0 there, 16 was asked for\).*--overwrite"):
        segment(run_dir, photos, out, window_px=16)
    shutil.copytree(out, tmp_path / "other")
    about = json.loads((tmp_path / "other" / "classes.json").read_text())
    (tmp_path / "other" / "classes.json").write_text(json.dumps({**about, "catalogue": "of another run"}))
    with pytest.raises(ConfigError, match="catalogue is 'of another run' there"):
        segment(run_dir, photos, tmp_path / "other")
    assert segment(run_dir, photos, tmp_path / "other", overwrite=True).done.num_kept == 0
    assert files_of(tmp_path / "other") == files_of(out)
    with pytest.raises(ConfigError, match="expected an empty folder or one of segments"):
        segment(run_dir, photos, run_dir.root)
    with pytest.raises(ConfigError, match="must be apart"):
        segment(run_dir, photos, photos / "segments")


def test_no_photo_no_catalogue_and_another_checkpoint_are_one_sentence_each(run_dir: RunDir, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a photo or a folder of photos at"):
        segment(run_dir, tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="expected photos .* found none"):
        segment(run_dir, tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="none of the 1 photos can be segmented; the first, cut.jpg, is damaged"):
        segment(run_dir, photos / "cut.jpg", tmp_path / "out")
    shutil.copytree(run_dir.root, tmp_path / "run")
    copied = RunDir(tmp_path / "run")
    step = Catalogue.open(copied).facts.step
    with pytest.raises(ConfigError, match=rf"is of another checkpoint \(step {step}\) than .*mcdist cluster .* --overwrite"):
        about = json.loads((copied.catalogue / "catalogue.json").read_text())
        (copied.catalogue / "catalogue.json").write_text(json.dumps({**about, "checkpoint": "0" * 64}))
        segment(copied, photos, tmp_path / "out", checkpoint="newest")
    with pytest.raises(CheckpointError, match="does not hold any more; make the catalogue again: mcdist cluster"):
        segment(copied, photos, tmp_path / "out")
    shutil.rmtree(copied.catalogue)
    with pytest.raises(DataError, match="found none; make it with: mcdist cluster"):
        segment(copied, photos, tmp_path / "out")


def test_names_that_cannot_be_written_beside_are_refused_and_others_go_on(run_dir: RunDir, tmp_path: Path) -> None:
    pictures = tmp_path / "photos"
    pictures.mkdir()
    Image.new("RGB", (9, 9)).save(pictures / ("long" * 60 + ".png"))
    Image.new("RGB", (9, 9)).save(pictures / "short.png")
    with Path(os.fsdecode(os.fsencode(pictures) + b"/bad\xff.png")).open("wb") as file:
        Image.new("RGB", (9, 9)).save(file, format="PNG")
    done = segment(run_dir, pictures, tmp_path / "out").done
    assert done.num_made == 1 and sorted(reason.split(" ")[3] for reason in done.reasons.values()) == ["of", "that"]


def test_several_folders_and_photos_are_named_below_the_folder_that_holds_them_all(run_dir: RunDir, photos: Path, tmp_path: Path) -> None:
    done = segment_run(run_dir, [photos / "deep", photos / "a.jpg"], out=tmp_path / "out", device="cpu", num_workers=0).done
    assert done.num_made == 5
    assert {content["photo"] for content in contents(tmp_path / "out")} >= {"a.jpg", "deep/grey.png", "deep/er/cmyk.jpg"}


def test_workers_that_decode_change_no_byte(run_dir: RunDir, photos: Path, out: Path, tmp_path: Path) -> None:
    segment_run(run_dir, [photos], out=tmp_path / "out", device="cpu", num_workers=1)
    assert files_of(tmp_path / "out") == files_of(out)


def test_overlays_may_be_left_out(run_dir: RunDir, photos: Path, tmp_path: Path, num_sound: int) -> None:
    segment(run_dir, photos, tmp_path / "out", overlays=False)
    assert not (tmp_path / "out" / "overlays").exists()
    assert segment(run_dir, photos, tmp_path / "out").done.num_made == num_sound
    assert io.BytesIO((tmp_path / "out" / "overlays" / "a.jpg.jpg").read_bytes()).read(2) == b"\xff\xd8"

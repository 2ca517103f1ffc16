"""Segment files from elsewhere: read where they are sound, refused in one sentence where they are not."""

import json

import pytest
from pycocotools import mask as coco_mask

from mcdist.dataset.segments import read_photo_segments, read_segments, segments_folder
from mcdist.errors import DataError
from tests.makers.made_segments import blob, made_segments, segment, write_segments


@pytest.fixture
def sound(tmp_path):
    mask = blob(20, 30, top=2, left=3, bottom=15, right=20, hole=True)
    entry = segment(1, mask, cluster=2, name="cat", class_id=1, confidence=0.5, vector=[1.0, 0.0])
    return write_segments(tmp_path, photo="a/b.jpg", height=20, width=30, segments=[entry])


def test_a_file_is_read_as_it_was_written(sound):
    photo = read_photo_segments(sound)
    (found,) = photo.segments
    assert (photo.photo, photo.width, photo.height) == ("a/b.jpg", 30, 20)
    assert (found.cluster, found.class_name, found.class_id, found.confidence, found.vector.tolist()) == (2, "cat", 1, 0.5, [1.0, 0.0])
    assert (photo.mask(found) == coco_mask.decode({"size": [20, 30], "counts": found.counts}).astype(bool)).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.update(photo="../../etc/passwd"), "leads out of its folder"),
        (lambda content: content.update(photo="/etc/passwd"), "leads out of its folder"),
        (lambda content: content.update(format="mcdist segments 9"), "must be of the format 'mcdist segments 1'"),
        (lambda content: content.update(width=10**9, height=10**9), "damaged"),
        (lambda content: content.update(width=31), "damaged"),
        (lambda content: content["segments"][0].update(number=0), "number must be a whole number, 1 to 32767, got 0"),
        (lambda content: content["segments"][0].update(number=2**24), "number must be a whole number, 1 to 32767, got 16777216"),
        (lambda content: content["segments"][0].update(number=1.0), "number must be a whole number"),
        (lambda content: content["segments"][0].update(cluster=-1), "cluster must be a whole number, 0 to 65535, got -1"),
        (lambda content: content["segments"][0].update(cluster=10**30), "cluster must be a whole number"),
        (lambda content: content["segments"][0].update(cluster=True), "cluster must be a whole number"),
        (lambda content: content["segments"][0].update(class_id=256), "class_id must be a whole number, 0 to 255, got 256"),
        (lambda content: content["segments"][0].update(confidence="high"), "damaged"),
        (lambda content: content["segments"][0].update(confidence=1.5), "the confidence must be between 0 and 1, got 1.5"),
        (lambda content: content["segments"][0].update(vector=["a"]), "damaged"),
        (lambda content: content["segments"][0].update(vector=[1e308, 0.0]), "must be a unit vector"),
        (lambda content: content["segments"][0].update(vector=[10**400, 0.0]), "damaged"),
        (lambda content: content["segments"][0].update(vector=[float("nan"), 0.0]), "must be a unit vector"),
        (lambda content: content["segments"][0].update(box_xywh=[float("inf"), 0, 1, 1]), "four finite numbers"),
        (lambda content: content["segments"][0].pop("rle"), "damaged"),
        (lambda content: content["segments"][0]["rle"].update(counts="~~"), "run lengths"),
        (lambda content: content["segments"].append(content["segments"][0]), "two segments have one number"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(sound, change, sentence):
    content = json.loads(sound.read_text())
    change(content)
    sound.write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        read_photo_segments(sound)


def test_half_a_file_is_refused(sound):
    sound.write_bytes(sound.read_bytes()[:100])
    with pytest.raises(DataError, match="no JSON"):
        read_photo_segments(sound)


def test_a_run_and_a_segments_folder_are_found_and_anything_else_is_refused(tmp_path):
    _, folder = made_segments(tmp_path)
    assert segments_folder(folder) == folder
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(DataError, match="a folder that is empty"):
        segments_folder(run)
    folder.rename(run / "segments")
    assert segments_folder(run) == run / "segments"
    with pytest.raises(DataError, match="something else"):
        segments_folder(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        segments_folder(tmp_path / "nowhere")


def test_a_folder_without_one_finished_photo_is_refused(tmp_path):
    (tmp_path / "segments").mkdir()
    with pytest.raises(DataError, match="has not finished one photo"):
        next(read_segments(tmp_path))

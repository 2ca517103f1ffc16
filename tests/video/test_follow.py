"""Videos are followed, written, resumed and scored; what cannot be scored is said."""

import json
from dataclasses import replace

import numpy
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from mcdist.data.videos import davis_videos, read_annotation
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.propagation.settings import PropagationSettings
from mcdist.records.names import FIRST_FRAME
from mcdist.report.pictures.animation import MAX_BYTES, Shown, write_animation
from mcdist.report.video_table import video_markdown
from mcdist.video.folder import VideoFolder
from mcdist.video.follow import FrameEncoder, follow
from mcdist.video.rows import davis_rows
from tests.makers.tiny_davis import HEIGHT, NAMES, WIDTH, tiny_davis

SETTINGS = PropagationSettings(short_side_px=48, long_multiple_px=4, radius=4)


def colours(frame):
    """Mean colour around each cell of 4 pixels, about grey: what a tiny encoder could see."""
    return {"colours": avg_pool2d(frame - 100, 4)}


ENCODER = FrameEncoder(("colours",), features=colours, stride=4, device=torch.device("cpu"))


def followed(root, *, year=2017, folder):
    return [follow(video, encoder=ENCODER, settings=SETTINGS, year=year, folder=folder) for video in davis_videos(root, year=year)]


@pytest.mark.parametrize("year", [2016, 2017])
def test_objects_are_followed_and_beat_the_first_frame(tmp_path, year):
    root, folder = tiny_davis(tmp_path / "data", year=year), VideoFolder(tmp_path / "out")
    scores = followed(root, year=year, folder=folder)
    assert [video.num_objects for video in scores] == ([2, 2] if year == 2017 else [1, 1])
    found, floor = davis_rows(scores, protocol="davis-propagation", encoders=("colours", FIRST_FRAME))
    assert found.mean > 65 > 55 > floor.mean
    assert found.details["num_objects"] == (4 if year == 2017 else 2)
    assert found.interval is not None
    assert found.interval[0] <= found.mean <= found.interval[1]
    assert "| colours |" in video_markdown([found, floor])
    mask = read_annotation(folder.masks("colours", "goose") / "00002.png")
    assert mask.shape == (HEIGHT, WIDTH)
    assert sorted(numpy.unique(mask).tolist()) == ([0, 1, 2] if year == 2017 else [0, 1])


def test_a_written_video_is_read_back_as_it_was(tmp_path):
    folder = VideoFolder(tmp_path / "out")
    scores = followed(tiny_davis(tmp_path / "data"), folder=folder)
    assert [folder.read(name) for name in NAMES] == scores
    assert folder.read("heron") is None
    folder.scores("goose").write_text(json.dumps({"video": "goose"}))
    with pytest.raises(DataError, match=r"goose.json is not what mcdist davis wrote .* remove it"):
        folder.read("goose")
    folder.scores("goose").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read"):
        folder.read("goose")


@pytest.mark.parametrize("num_frames", [1, 2])
def test_a_video_of_one_or_two_frames_has_masks_but_no_score(tmp_path, num_frames):
    folder = VideoFolder(tmp_path / "out")
    scores = followed(tiny_davis(tmp_path / "data", num_frames=num_frames), folder=folder)
    assert scores[0].unscored == f"it has {num_frames} frames, and the first and the last are not scored"
    with pytest.raises(DataError, match="at least one video that can be scored"):
        davis_rows(scores, protocol="davis-propagation", encoders=("colours",))
    assert len(list(folder.masks("colours", "goose").glob("*.png"))) == num_frames


def test_frames_without_annotation_are_followed_and_not_scored(tmp_path):
    root = tiny_davis(tmp_path / "data")
    (root / "Annotations" / "480p" / "otter" / "00003.png").unlink()
    scores = followed(root, folder=VideoFolder(tmp_path / "out"))
    assert [video.unscored for video in scores] == ["", "1 of 5 frames have no annotation"]
    (row,) = davis_rows(scores, protocol="davis-propagation", encoders=("colours",))
    assert list(row.details["by_video_percent"]) == ["goose"]


def test_a_first_frame_without_an_object_is_not_scored(tmp_path):
    scores = followed(tiny_davis(tmp_path / "data", num_objects=0), folder=VideoFolder(tmp_path / "out"))
    assert scores[0].unscored == "its first frame shows no object"


def test_a_frame_of_another_size_is_one_sentence(tmp_path):
    root = tiny_davis(tmp_path / "data")
    Image.new("RGB", (20, 20)).save(root / "JPEGImages" / "480p" / "goose" / "00002.png")
    with pytest.raises(DataError, match=r"00002.png must have the size of the video's first annotation, \(48, 80\), got \(20, 20\)"):
        followed(root, folder=VideoFolder(tmp_path / "out"))


def test_a_folder_of_other_masks_or_files_is_refused(tmp_path):
    folder = VideoFolder(tmp_path / "out")
    folder.begin({"protocol": "davis-propagation", "settings": {"radius": 12}})
    folder.begin({"settings": {"radius": 12}, "protocol": "davis-propagation"})
    with pytest.raises(ConfigError, match="holds masks that were made of another settings; choose another --out"):
        folder.begin({"protocol": "davis-propagation", "settings": {"radius": 3}})
    with pytest.raises(ConfigError, match="must be empty or hold masks of mcdist davis"):
        VideoFolder(tiny_davis(tmp_path / "data")).begin({})


@pytest.mark.parametrize(
    ("name", "message"),
    [("../otter", "must have one name of a folder a line, got '../otter'"), ("heron", "expected the folder of a video's frames at"), ("", "found none")],
)
def test_a_list_of_videos_is_checked(tmp_path, name, message):
    root = tiny_davis(tmp_path)
    (root / "ImageSets" / "2017" / "val.txt").write_text(f"{name}\n")
    with pytest.raises(DataError, match=message):
        davis_videos(root, year=2017)


def test_a_missing_list_names_those_that_are_there(tmp_path):
    with pytest.raises(DataError, match=r"there are: ImageSets/2016/val.txt"):
        davis_videos(tiny_davis(tmp_path, year=2016), year=2017)
    (tmp_path / "Annotations" / "480p" / "goose" / "00000.png").unlink()
    with pytest.raises(DataError, match="the video goose must have an annotation of its first frame"):
        davis_videos(tmp_path, year=2016)


def test_an_animation_is_small_and_moves(tmp_path):
    root, folder = tiny_davis(tmp_path / "data"), VideoFolder(tmp_path / "out")
    followed(root, folder=folder)
    frames = davis_videos(root, year=2017)[0].frames
    shown = [Shown("colours", folder.masks("colours", "goose"))] * 3
    write_animation(frames, shown=shown, read=lambda path: numpy.asarray(Image.open(path)), path=tmp_path / "goose.webp")
    assert (tmp_path / "goose.webp").stat().st_size < MAX_BYTES
    with Image.open(tmp_path / "goose.webp") as picture:
        assert getattr(picture, "n_frames", 1) == 5
        assert picture.width > 600


def test_scores_do_not_depend_on_which_frames_are_in_memory(tmp_path):
    """num_last = 1: a context of two frames follows as well where little moves."""
    root, folder = tiny_davis(tmp_path / "data"), VideoFolder(tmp_path / "out")
    video = davis_videos(root, year=2017)[0]
    short = follow(video, encoder=ENCODER, settings=replace(SETTINGS, num_last=1), year=2017, folder=folder)
    (row,) = davis_rows([short], protocol="davis-propagation", encoders=("colours",))
    assert row.mean > 65

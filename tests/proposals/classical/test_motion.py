"""Motion: what moves is found where no single frame shows it; what is no video is said; the same bytes however it is shared out or resumed."""

import sys

import numpy
import pytest

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.proposals.classical.motion import NO_MOTION, together
from mcdist.proposals.classical.residual_flow import ResidualFlow, camera_motion, read_frame, residual_flow
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.registry import make_method
from tests.proposals.classical.moving_squares import moving_square, texture
from tests.proposals.proposal_pictures import disc, files_in, iou, read, save

cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless", exc_type=ImportError)

SMALL = {"side_px": "160", "superpixels": "300"}


def propose(frames):
    return make_method("motion", options=SMALL)(frames)


def mean_iou(proposals, truths):
    return numpy.mean([iou(proposal.instances > 0, truth) for proposal, truth in zip(proposals, truths, strict=True)])


def save_video(folder, frames):
    for number, frame in enumerate(frames):
        save(folder / f"{number:03d}.png", frame)


@pytest.mark.parametrize("pan_px", [0, 9])
def test_a_square_that_only_its_motion_shows_is_found_also_before_a_camera_that_pans(pan_px):
    frames, truths = moving_square(pan_px=pan_px)
    proposals = propose(frames)
    assert [proposal.notes for proposal in proposals] == [()] * len(frames)
    assert mean_iou(proposals, truths) > 0.55
    assert mean_iou(make_method("ensemble", options={"threshold": "adaptive"})(frames), truths) < 0.45


def test_the_camera_is_told_from_what_moves_before_it():
    frames, truths = moving_square(num=2, step_px=5, pan_px=9)
    one, other = (read_frame(frame) for frame in frames)
    camera = camera_motion(one, other)
    assert camera is not None
    assert camera[:2, 2] == pytest.approx([9, 0], abs=0.3)
    flow = residual_flow(one, other, camera=camera)
    assert not flow.seen[:, -8:].any()
    assert flow.seen[4:-4, 4:-12].all()
    inner = numpy.zeros_like(truths[0])
    inner[46:70, 56:80] = True
    assert numpy.median(flow.speed[inner]) == pytest.approx(4, abs=1)
    assert numpy.median(flow.speed[~truths[0] & flow.seen]) < 0.3


def test_photos_of_different_scenes_have_no_camera_between_them():
    one, other = (read_frame(texture(height=120, width=160, seed=seed).astype(numpy.uint8)) for seed in (3, 4))
    assert camera_motion(one, other) is None
    assert camera_motion(one, read_frame(numpy.full((120, 160, 3), 90, dtype=numpy.uint8))) is None
    assert camera_motion(one, one) == pytest.approx(numpy.eye(3), abs=1e-3)


def test_speeds_are_the_geometric_mean_of_both_sides_and_of_one_where_the_other_does_not_see():
    flows = [ResidualFlow(numpy.full((1, 3), speed, dtype=numpy.float32), numpy.array([[True, seen, False]])) for speed, seen in ((4.0, True), (1.0, False))]
    assert together(flows)[0] == pytest.approx([2, 4, 0], rel=1e-5)


def test_a_folder_that_is_no_video_is_proposed_photo_by_photo_and_counted(tmp_path):
    truths = []
    for seed, size in enumerate(((96, 72), (96, 72), (120, 90))):
        photo, truth = disc(width=size[0], height=size[1], seed=seed)
        save(tmp_path / "photos" / f"{seed}.png", photo)
        truths.append(truth)
    save(tmp_path / "photos" / "alone" / "one.png", disc()[0])
    save(tmp_path / "photos" / "narrow" / "a.png", texture(height=16, width=400, seed=0).astype(numpy.uint8))
    save(tmp_path / "photos" / "narrow" / "b.png", texture(height=16, width=400, seed=0).astype(numpy.uint8))
    done = propose_folder(tmp_path / "photos", out=tmp_path / "out", method="motion", options=SMALL, num_workers=0)
    assert done.summary.num_photos == done.summary.notes[NO_MOTION] == 6
    assert done.summary.outcomes["proposed"] >= 4
    assert "failed" not in done.summary.outcomes
    for seed, truth in enumerate(truths):
        assert iou(read(tmp_path / "out" / f"{seed}.png") > 0, truth) > 0.5


def test_photos_of_other_scenes_change_nothing():
    photos = [disc(seed=seed)[0] for seed in range(3)]
    for together_with_others, photo in zip(propose(photos), photos, strict=True):
        (alone,) = propose([photo])
        assert numpy.array_equal(together_with_others.confidence, alone.confidence)


def test_frames_between_which_nothing_moves_are_said():
    frames, _ = moving_square(num=2, step_px=0)
    assert [proposal.notes for proposal in propose(frames)] == [(NO_MOTION,), (NO_MOTION,)]


def test_a_frame_of_another_size_parts_the_video():
    frames, truths = moving_square(num=5)
    frames[2] = numpy.ascontiguousarray(frames[2][:100])
    proposals = propose(frames)
    assert [bool(proposal.notes) for proposal in proposals] == [False, False, True, False, False]
    assert proposals[2].instances.shape == (100, 160)
    assert mean_iou([proposals[place] for place in (0, 1, 3, 4)], [truths[place] for place in (0, 1, 3, 4)]) > 0.5


def test_opencvs_threads_change_nothing_and_are_left_as_they_were():
    frames, _ = moving_square(num=3)
    before = cv2.getNumThreads()
    found = []
    try:
        for num_threads in (1, 4):
            cv2.setNumThreads(num_threads)
            found.append([proposal.confidence.tobytes() for proposal in propose(frames)])
            assert cv2.getNumThreads() == num_threads
    finally:
        cv2.setNumThreads(before)
    assert found[0] == found[1]


def test_workers_parts_and_a_run_taken_up_again_change_no_byte(tmp_path):
    for name, pan_px in (("a", 0), ("b", 5)):
        save_video(tmp_path / "photos" / name, moving_square(num=3, pan_px=pan_px)[0])

    def run(out, **others):
        settings = {"num_workers": 0, **others}
        return propose_folder(tmp_path / "photos", out=tmp_path / out, method="motion", options=SMALL, **settings)

    run("whole")
    run("workers", num_workers=2)
    assert [run("parts", part=part, num_parts=2).complete for part in (2, 1)] == [False, True]
    run("resumed", part=1, num_parts=2)
    (tmp_path / "resumed" / "a" / "001.png").unlink()
    again = run("resumed")
    assert (again.num_made, again.complete) == (6, True)
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "workers") == files_in(tmp_path / "parts") == files_in(tmp_path / "resumed")


def test_stability_is_not_asked_of_single_frames(tmp_path, run):
    save_video(tmp_path / "photos", moving_square(num=2)[0])
    options = [word for key, value in SMALL.items() for word in ("--option", f"{key}={value}")]
    made = run("make", "motion", tmp_path / "photos", "--out", tmp_path / "out", "--workers", 1, *options)
    assert made.exit_code == 0, made.output
    judged = run("evaluate", tmp_path / "out", "--photos", tmp_path / "photos")
    assert judged.exit_code == 0, judged.output
    assert "stability is left out: motion proposes the photos of a folder together" in judged.output
    assert "stability mirrored" not in judged.output


def test_without_opencv_the_install_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"motion needs OpenCV; pip install 'mcdist\[motion\]'"):
        make_method("motion")


def test_options_that_make_no_sense_are_one_sentence():
    with pytest.raises(ConfigError, match="motion: superpixels must be >= 4"):
        make_method("motion", options={"superpixels": "1"})
    with pytest.raises(ConfigError, match="motion: threshold must be adaptive, otsu or a number"):
        make_method("motion", options={"threshold": "high"})

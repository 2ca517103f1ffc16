"""Measures of proposals: what they are on masks whose answer is known."""

import json

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.proposals.quality.evaluate_folder import judge_folder
from mcdist.proposals.quality.scores import ShapeScores, TruthScores, boundary_f
from mcdist.proposals.quality.truth import Truth
from tests.proposals.proposal_pictures import save, save_discs


def squares() -> numpy.ndarray:
    """Class 3 left, class 5 right, a void strip between, background around."""
    truth = numpy.zeros((40, 60), dtype=numpy.int32)
    truth[10:30, 5:25], truth[10:30, 35:55], truth[:, 29:31] = 3, 5, -1
    return truth


def test_a_perfect_proposal_scores_one_everywhere():
    truth = squares()
    instances = numpy.where(truth == 3, 1, numpy.where(truth == 5, 2, 0)).astype(numpy.int16)
    scores = TruthScores()
    scores.add(instances, truth=truth, confidence=((truth > 0) * 255).astype(numpy.uint8))
    values = scores.values()
    assert values.pop("mean_absolute_error") == 0
    assert values.pop("recall_at_1") == 0.5
    assert 0.99 < values.pop("e_mean") < 1  # at cut 0 everything is found
    assert values == pytest.approx(dict.fromkeys(values, 1.0))
    assert scores.purity_by_class() == {3: 1.0, 5: 1.0}


def test_half_an_object_scores_what_it_should():
    truth = squares()
    instances = numpy.zeros(truth.shape, dtype=numpy.int16)
    instances[10:30, 5:15] = 1
    scores = TruthScores()
    scores.add(instances, truth=truth, confidence=None)
    values = scores.values()
    assert values["foreground_iou"] == 0.25
    assert values["recall_at_5"] == 0.5
    assert values["purity"] == 1.0
    assert "max_f" not in values


def test_purity_is_the_share_of_the_most_frequent_class_and_void_counts_nowhere():
    truth = squares()
    instances = numpy.zeros(truth.shape, dtype=numpy.int16)
    instances[10:30, 5:31] = 1
    scores = TruthScores()
    scores.add(instances, truth=truth, confidence=None)
    assert scores.purity_by_class() == {3: pytest.approx(20 / 24)}
    assert scores.values()["foreground_iou"] == pytest.approx(400 / (800 + 80))


def test_max_f_is_that_of_the_best_cut():
    truth = numpy.zeros((10, 10), dtype=numpy.int32)
    truth[:5] = 1
    confidence = numpy.full((10, 10), 50, dtype=numpy.uint8)
    confidence[:4], confidence[4] = 200, 120
    scores = TruthScores()
    scores.add(numpy.zeros((10, 10), dtype=numpy.int16), truth=truth, confidence=confidence)
    assert scores.values()["max_f"] == pytest.approx(1.0)


def test_a_boundary_within_the_tolerance_counts_and_one_beyond_does_not():
    wanted = numpy.zeros((200, 200), dtype=bool)
    wanted[50:150, 50:150] = True
    everywhere = numpy.ones_like(wanted)
    assert boundary_f(numpy.roll(wanted, 2, axis=0), wanted=wanted, counted=everywhere) == pytest.approx(1.0)
    assert boundary_f(numpy.roll(wanted, 20, axis=0), wanted=wanted, counted=everywhere) < 0.6
    assert boundary_f(numpy.zeros_like(wanted), wanted=wanted, counted=everywhere) == 0


def test_cor_loc_asks_for_one_box():
    """The first proposal's box on the left object: right with half of its width or more; a photo without objects is in no mean."""
    truth = squares()
    for width, located in ((20, 1.0), (10, 1.0), (9, 0.0)):
        instances = numpy.zeros(truth.shape, dtype=numpy.int16)
        instances[10:30, 5 : 5 + width] = 1
        instances[10:30, 35:55] = 2
        scores = TruthScores()
        scores.add(instances, truth=truth, confidence=None)
        scores.add(instances, truth=0 * truth, confidence=None)
        assert scores.values()["cor_loc"] == located
    scores = TruthScores()
    scores.add(0 * instances, truth=truth, confidence=None)
    assert scores.values()["cor_loc"] == 0.0


def test_a_strip_of_void_around_an_object_is_shared_out():
    wanted = numpy.zeros((100, 100), dtype=bool)
    wanted[30:70, 30:70] = True
    counted = numpy.ones_like(wanted)
    counted[27:73, 27:73] = False
    counted[33:67, 33:67] = True
    assert boundary_f(wanted, wanted=wanted & counted, counted=counted) == pytest.approx(1.0)
    assert boundary_f(numpy.roll(wanted, 15, axis=1), wanted=wanted & counted, counted=counted) < 0.7


def test_shapes_tell_coverage_number_and_size():
    shapes = ShapeScores()
    one = numpy.zeros((10, 10), dtype=numpy.int16)
    one[:2], one[8:] = 1, 3
    shapes.add(one)
    shapes.add(numpy.zeros((10, 10), dtype=numpy.int16))
    values = shapes.values()
    assert (values["coverage"], values["objects_per_photo"], values["photos_without_object"]) == (0.2, 1.0, 0.5)
    assert values["object_share_p50"] == pytest.approx(0.2)


def truth_of(folder, **options):
    """What is read of the photo p.jpg, as lists."""
    truth = Truth(folder, **options).read("p.jpg")
    assert truth is not None
    return truth.tolist()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [0, 7, -1, 9]),
        ({"foreground": (7,)}, [0, 7, -1, -1]),
        ({"background": (0, 9)}, [0, 7, -1, 0]),
        ({"background": (7,), "void": (0,)}, [-1, 0, 255, 9]),
    ],
)
def test_ids_of_the_ground_truth_are_what_is_said_of_them(tmp_path, options, wanted):
    save(tmp_path / "p.png", numpy.array([[0, 7, 255, 9]], dtype=numpy.uint8))
    assert truth_of(tmp_path, **options) == [wanted]


def test_a_map_of_0_and_255_alone_is_binary(tmp_path):
    save(tmp_path / "p.png", numpy.array([[0, 255]], dtype=numpy.uint8))
    assert truth_of(tmp_path) == [[0, 1]]


def test_a_folder_is_judged_from_the_command_line(tmp_path, run):
    truths = save_discs(tmp_path / "photos", num=4)
    for number, truth in enumerate(truths):
        save(tmp_path / "truth" / ("a" if number < 2 else "b") / f"p{number:03d}.png", truth.astype(numpy.uint8))
    made = run(
        "make",
        "barrier_distance",
        tmp_path / "photos",
        "--out",
        tmp_path / "out",
        "--workers",
        1,
        "--confidence",
        tmp_path / "soft",
        "--option",
        "threshold=0.4",
    )
    assert made.exit_code == 0, made.output
    folders = ["--truth", tmp_path / "truth", "--confidence", tmp_path / "soft", "--photos", tmp_path / "photos"]
    judged = run("evaluate", tmp_path / "out", *folders, "--json", tmp_path / "j.json", "--num-stability", 2)
    assert judged.exit_code == 0, judged.output
    content = json.loads((tmp_path / "j.json").read_text())
    assert content["method"]["parameters"]["threshold"] == "0.4"
    assert content["values"]["foreground_iou"] > 0.7
    assert content["values"]["max_f"] > 0.8
    assert content["values"]["stability_mirrored"] > 0.8
    assert (tmp_path / "out-sheet.png").is_file()
    without = run("evaluate", tmp_path / "out")
    assert without.exit_code == 0
    assert "coverage" in without.output
    assert "foreground iou" not in without.output


def test_no_masks_or_no_truth_is_one_sentence(tmp_path):
    (tmp_path / "truth").mkdir()
    with pytest.raises(DataError, match="expected masks"):
        judge_folder(tmp_path)
    save(tmp_path / "masks" / "p.png", numpy.ones((4, 4), dtype=numpy.uint8))
    with pytest.raises(DataError, match="expected ground truth for the masks"):
        judge_folder(tmp_path / "masks", truth=Truth(tmp_path / "truth"))

"""What a report draws of a result: the photos that it is worst on, embeddings as colours, objects as points."""

from pathlib import Path

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.evaluate.colours import embedding_colours
from mcdist.evaluate.failures import lowest_places, photo_scores
from mcdist.evaluate.object_map import object_map, plane_of
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.truth import MaskCounts
from mcdist.records.object_map import ObjectMap
from mcdist.report.pictures.failures import failure_scores, save_failures
from tests.evaluate.colour_world import CLASSES, judge_store, make_sample, make_store
from tests.report.fake_run import make_panel


def test_a_photos_score_is_over_the_classes_that_it_shows_or_is_given() -> None:
    counts = MaskCounts(
        "predicted",
        histograms=numpy.array([[0, 10, 0], [0, 6, 4], [2, 0, 8]]),
        outside=numpy.array([[90, 0, 0], [90, 0, 0], [50, 0, 40], [0, 0, 0]]),
        photo_of=numpy.array([0, 1, 2]),
    )
    painting = Painting(classes=("background", "a", "b"), masks="predicted", class_of_object=numpy.array([1, 1, 1]), class_of_background=0)
    scores = photo_scores(painting, counts=counts)
    assert scores[:3] == pytest.approx([100, 100 * (1 + 0.6 + 0) / 3, 100 * (50 / 92 + 0 + 0) / 3]) and numpy.isnan(scores[3])
    assert lowest_places(scores, num=2) == [2, 1] and lowest_places(scores, num=9) == [2, 1, 0]


def test_the_same_direction_has_the_same_colour_in_every_picture() -> None:
    random = numpy.random.default_rng(0)
    kinds = random.normal(size=(4, 8))
    numbers = [random.integers(4, size=(5, 6)), random.integers(4, size=(3, 2))]
    first, second = embedding_colours([kinds[one] * random.uniform(1, 9, (*one.shape, 1)) for one in numbers])
    assert first.shape == (5, 6, 3) and second.shape == (3, 2, 3)
    colour_of = {kind: first[numbers[0] == kind][0] for kind in range(4)}
    for found, kind in zip(second.reshape(-1, 3), numbers[1].ravel().tolist(), strict=True):
        assert numpy.abs(found.astype(int) - colour_of[kind]).max() <= 1
    assert len({tuple(colour) for colour in colour_of.values()}) == 4


def test_few_dimensions_and_no_variance_are_drawn_all_the_same() -> None:
    assert embedding_colours([]) == []
    (two,) = embedding_colours([numpy.random.default_rng(0).normal(size=(4, 4, 2))])
    assert (two[..., 2] == 128).all()
    (flat,) = embedding_colours([numpy.zeros((2, 2, 5))])
    assert flat.shape == (2, 2, 3)


def test_points_are_the_two_main_directions_within_the_unit_square() -> None:
    random = numpy.random.default_rng(0)
    vectors = random.normal(size=(50, 6)) * [9, 4, 0.1, 0.1, 0.1, 0.1]
    points, explained = plane_of(vectors)
    assert points.min() == 0 and points.max() == 1 and explained > 0.99
    assert abs(numpy.corrcoef(points[:, 0], vectors[:, 0])[0, 1]) > 0.999
    assert (plane_of(vectors)[0] == points).all()
    assert plane_of(numpy.ones((4, 1)))[0].tolist() == [[0, 0]] * 4


@pytest.mark.parametrize("classes", [CLASSES, None])
def test_a_map_shows_the_objects_before_and_after_training(tmp_path: Path, classes: dict | None) -> None:
    store = make_store(tmp_path / "store", samples=[make_sample(index) for index in range(12)])
    judged, view = judge_store(store, classes=classes)
    assert judged.painting is not None
    found = object_map(view, painting=judged.painting)
    assert found is not None and [one.encoder for one in found.projections] == ["initial backbone", "trained"]
    assert len(found.class_of) == 12 and found.is_true == (classes is not None)
    text = found.to_json()
    assert ObjectMap.from_json(text, where="here").to_json() == text
    assert len(judged.painting.examples) == (3 if classes else len(judged.painting.classes) - 1), "typical objects of each cluster"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "mcdist object map 1"}', '{"format": "mcdist object map 1", "classes": [], "class_of": [3]}'])
def test_text_that_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="here is not an object map that this mcdist wrote"):
        ObjectMap.from_json(text, where="here")


def test_failures_are_kept_with_their_scores_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "failures"
    assert save_failures([], folder, scores=[], classes=("a",)) == [] and not folder.exists()
    save_failures([make_panel(key="one"), make_panel(key="two")], folder, scores=[1.25, 30.0], classes=("a", "b"))
    assert [(path.name, score) for path, score in failure_scores(folder)] == [("00_one.png", 1.2), ("01_two.png", 30.0)]
    save_failures([], folder, scores=[], classes=("a",))
    assert failure_scores(folder) == []
    (folder / "scores.json").write_text("[")
    with pytest.raises(DataError, match="does not hold the scores of photos"):
        failure_scores(folder)

"""Object accuracy: every object one vote, clusters matched to classes."""

from pathlib import Path

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.evaluate.metrics.labels import NO_CLASS
from mcdist.evaluate.protocols.object_accuracy import is_right, true_objects
from mcdist.evaluate.truth import MaskCounts
from mcdist.records import Row
from mcdist.records.names import OBJECT_ACCURACY
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import CLASSES, judge_store, make_sample, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("accuracy") / "store", samples=[make_sample(index) for index in range(12)])


def rows_of(store: FeatureStore, **given) -> dict[tuple[str, str, int], Row]:
    judged, _ = judge_store(store, protocols=[OBJECT_ACCURACY], **{"classes": CLASSES, **given})
    return {(row.subject.masks, row.subject.encoder, row.num_clusters): row for row in judged.evaluation.rows}


def test_features_that_know_the_classes_have_every_object_right(store: FeatureStore) -> None:
    rows = rows_of(store)
    for masks in ("predicted", "proposals"):
        row = rows[masks, "trained", 3]
        assert row.values == (100.0, 100.0) and row.details["adjusted_rand"] == 1 and row.details["num_objects"] == 12
        assert row.interval == (100, 100)
        assert rows[masks, "random labels", 3].mean < 80


def test_the_clusters_numbers_do_not_matter_and_a_mixed_cluster_does() -> None:
    classes = numpy.array([0, 0, 1, 1, 2, 2])
    for numbers in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert is_right(numpy.array(numbers)[classes], classes=classes, num_clusters=3, num_classes=3).all()
    mixed = is_right(numpy.array([0, 0, 0, 0, 1, 2]), classes=classes, num_clusters=3, num_classes=3)
    assert mixed.sum() == 3, "a cluster stands for one class, and the third one for the class that is left"
    assert is_right(numpy.arange(6), classes=classes, num_clusters=6, num_classes=3).all(), "more clusters than classes: each its own majority"


def test_fewer_objects_than_clusters_are_clusters_of_their_own(tmp_path: Path) -> None:
    row = rows_of(make_store(tmp_path / "store", samples=[make_sample(0), make_sample(3)]), num_clusters=(5,))["proposals", "trained", 5]
    assert row.values == (100.0, 100.0) and row.details["num_objects"] == 2


def test_an_object_counts_as_what_covers_most_of_it_but_background() -> None:
    counts = MaskCounts("proposals", numpy.array([[90, 3, 7], [50, 0, 0], [0, 5, 5]]), numpy.zeros((2, 3), dtype=int), numpy.array([0, 0, 1]))
    objects = true_objects(counts)
    assert objects.rows.tolist() == [0, 2] and objects.classes.tolist() == [1, 0] and objects.photo_of.tolist() == [0, 1]


def test_objects_of_void_alone_are_refused(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="needs ground truth of at least one of pink"):
        rows_of(store, classes={"background": [0], "pink": [7]})


def test_a_data_set_without_background_has_all_its_classes(store: FeatureStore) -> None:
    """What surrounds the objects is void here, and the first class, which no id belongs to, is in no list of classes."""
    judged, view = judge_store(store, classes={"red": [1], "green": [2], "blue": [3]}, has_background=False, protocols=[OBJECT_ACCURACY, "mean-embedding"])
    rows = {(row.protocol, row.subject.masks, row.subject.encoder): row for row in judged.evaluation.rows}
    assert rows[OBJECT_ACCURACY, "proposals", "trained"].values == (100.0, 100.0)
    assert rows["mean-embedding", "proposals", "trained"].values == (100.0, 100.0)
    assert judged.evaluation.classes[0] == NO_CLASS and judged.evaluation.settings["absent_classes"] == []
    assert judged.evaluation.mask_iou_percent == {} and view.known_truth.labels.ids == {"red": [1], "green": [2], "blue": [3]}

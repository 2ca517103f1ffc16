"""Without ground truth: clusters, how clear and how steady they are, and the objects that show what they are."""

from dataclasses import replace

import numpy
import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.silhouette import silhouette
from mcdist.records import Evaluation
from tests.evaluate.colour_world import EXTRACT, judge_store, make_sample, make_store, panels_of

UNLABELLED = replace(EXTRACT, batch=8, with_truth=False)


def run(folder, num_photos=30, **changes):
    samples = [make_sample(index, with_segments=False) for index in range(num_photos)]
    store = make_store(folder / "store", samples=samples, settings=UNLABELLED)
    judged, view = judge_store(store, classes=None, **{"pca_dim": 0, "num_clusters": (3,), **changes})
    assert judged.painting is not None
    return judged.evaluation, panels_of(judged, view, samples=samples), judged.painting.examples


def test_three_colours_become_three_clear_clusters_with_their_objects(tmp_path):
    evaluation, panels, examples = run(tmp_path)
    quoted = evaluation.rows[evaluation.headline]
    assert quoted.details["sizes"] == [10, 10, 10]
    assert quoted.mean > 0.7
    assert quoted.details["agreement"] == 1.0
    assert len(examples) == 3
    for cluster in examples:
        assert len({example.sample % 3 for example in cluster}) == 1
        assert all(0 <= example.box[0] < example.box[2] <= 1 for example in cluster)
    assert all(panel.truth is None for panel in panels)
    assert {int(value) for panel in panels for value in numpy.unique(panel.clusters)} <= {0, 1, 2, 3}
    assert Evaluation.from_json(evaluation.to_json(), where="here") == evaluation


def test_the_number_of_clusters_is_found_where_none_is_given(tmp_path):
    evaluation, _, _ = run(tmp_path, num_clusters=(0,))
    assert len(evaluation.classes) - 1 in (4, 6, 8)
    assert "silhouette" in evaluation.rows[0].details["chosen_by"]


def test_nothing_to_cluster_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="at least two objects"):
        run(tmp_path / "one", num_photos=1)
    with pytest.raises(DataError, match="at least two objects"):
        run(tmp_path / "none", num_photos=0)


def test_more_clusters_than_a_panel_can_show_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="evaluate.num_clusters must be at most 253 .* got 254"):
        run(tmp_path, num_clusters=(254,))


def test_a_silhouette_is_that_of_the_definition():
    points = numpy.array([[0.0], [1.0], [10.0], [12.0]], dtype=numpy.float32)
    clusters = numpy.array([0, 0, 1, 1])
    wanted = numpy.mean([(11 - 1) / 11, (10 - 1) / 10, (9.5 - 2) / 9.5, (11.5 - 2) / 11.5])
    assert silhouette(points, clusters=clusters) == pytest.approx(wanted)
    assert silhouette(points, clusters=numpy.zeros(4, dtype=int)) == 0

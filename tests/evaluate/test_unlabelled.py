"""Without ground truth: clusters, how clear and how steady they are, and the objects that show what they are."""

from dataclasses import replace

import numpy
import pytest
import torch
from colour_world import SETTINGS, ColourEncoder, make_sample

from mcdist.errors import DataError
from mcdist.evaluate.evaluation import evaluate_unlabelled
from mcdist.evaluate.subject import EncoderPair, PhotoSet
from mcdist.evaluate.unlabelled import adjusted_rand, silhouette
from mcdist.records import Evaluation

UNLABELLED = replace(SETTINGS, batch=8, pca_dim=0, num_clusters=3)


def run(num_photos=30, **changes):
    photos = PhotoSet((make_sample(index, with_segments=False) for index in range(num_photos)), dataset="colours", num_photos=30)
    encoders = EncoderPair(trained=ColourEncoder(), initial=ColourEncoder(blind=True), step=7, device=torch.device("cpu"))
    return evaluate_unlabelled(photos, encoders=encoders, settings=replace(UNLABELLED, **changes))


def test_three_colours_become_three_clear_clusters_with_their_objects():
    evaluation, panels, examples = run()
    quoted = evaluation.clusters[evaluation.headline]
    assert quoted.sizes == (10, 10, 10)
    assert quoted.mean_silhouette > 0.7
    assert quoted.agreement == 1.0
    for cluster in examples:
        assert len({example.sample % 3 for example in cluster}) == 1
        assert all(0 <= example.box[0] < example.box[2] <= 1 for example in cluster)
    assert all(panel.truth is None for panel in panels)
    assert {int(value) for panel in panels for value in numpy.unique(panel.clusters)} <= {0, 1, 2, 3}
    assert Evaluation.from_json(evaluation.to_json(), where="here") == evaluation


def test_the_number_of_clusters_is_found_where_none_is_given():
    evaluation, _, _ = run(num_clusters=0)
    assert len(evaluation.classes) - 1 in (4, 6, 8)
    assert "silhouette" in evaluation.settings["kmeans"]["chosen_by"]


def test_nothing_to_cluster_is_one_sentence():
    with pytest.raises(DataError, match="at least two objects"):
        run(num_photos=1)
    with pytest.raises(DataError, match="at least two objects"):
        run(num_photos=0)


def test_a_silhouette_is_that_of_the_definition():
    points = numpy.array([[0.0], [1.0], [10.0], [12.0]], dtype=numpy.float32)
    clusters = numpy.array([0, 0, 1, 1])
    wanted = numpy.mean([(11 - 1) / 11, (10 - 1) / 10, (9.5 - 2) / 9.5, (11.5 - 2) / 11.5])
    assert silhouette(points, clusters=clusters) == pytest.approx(wanted)
    assert silhouette(points, clusters=numpy.zeros(4, dtype=int)) == 0


def test_the_rand_index_is_1_for_the_same_and_0_by_chance():
    one = numpy.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(one, other=(one + 1) % 3) == 1
    random = numpy.random.default_rng(0)
    many = [adjusted_rand(random.integers(0, 4, 400), other=random.integers(0, 4, 400)) for _ in range(20)]
    assert abs(numpy.mean(many)) < 0.02

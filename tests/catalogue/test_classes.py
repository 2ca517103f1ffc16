"""Classes: vectors get the cluster, the class and the confidence that names and splits make."""

import numpy
import pytest

from mcdist.catalogue.classes import VOID_CLASS_ID
from mcdist.catalogue.clusters import NO_CLUSTER
from mcdist.catalogue.names import Names
from tests.catalogue.worlds import axis_clusters, near_axes

START = Names(catalogue="key", num_clusters=4, num_objects=20)


def test_classes_are_numbered_in_the_order_of_naming_and_unnamed_clusters_come_last():
    classes = START.name(3, "cat").name(1, "dog").name(0, "cat").apply(axis_clusters())
    assert classes.names == ("background", "cat", "dog", "unnamed cluster 2")
    assert classes.class_of == {0: 1, 1: 2, 2: 3, 3: 1}
    found = classes.assign(near_axes([0, 1, 2, 3]))
    assert found.cluster.tolist() == [0, 1, 2, 3]
    assert found.class_id.tolist() == [1, 2, 3, 1]
    assert classes.assign(near_axes([0, 2]), unnamed_void=True).class_id.tolist() == [1, VOID_CLASS_ID]


def test_a_class_that_is_renamed_keeps_its_number():
    names = START.name(0, "caat").name(1, "dog").name(0, "cat")
    assert names.apply(axis_clusters()).names[:3] == ("background", "cat", "dog")
    still = START.name(0, "cat").name(3, "cat").name(1, "dog").name(0, "bird")
    assert still.apply(axis_clusters()).names[:4] == ("background", "cat", "dog", "bird")


def test_a_cluster_called_background_is_class_zero():
    found = START.name(2, "background").apply(axis_clusters()).assign(near_axes([2]))
    assert found.class_id.tolist() == [0]


def test_merged_clusters_without_a_name_are_one_class():
    classes = START.merge(2, into=1).apply(axis_clusters())
    assert classes.names == ("background", "unnamed cluster 0", "unnamed cluster 1", "unnamed cluster 3")
    assert classes.class_of[1] == classes.class_of[2] == 2


def test_the_confidence_of_a_class_is_the_sum_over_its_clusters():
    clusters = axis_clusters()
    vectors = near_axes([0, 1, 2, 3], noise=0.3)
    probabilities = clusters.probabilities(vectors)
    found = START.name(0, "cat").name(1, "cat").apply(clusters).assign(vectors)
    assert found.confidence[0] == pytest.approx(probabilities[0, :2].sum(), rel=1e-5)
    alone = START.apply(clusters).assign(vectors)
    base = clusters.assign(vectors)
    numpy.testing.assert_allclose(alone.confidence, base.confidence, rtol=1e-5)
    assert alone.second.tolist() == base.second.tolist()
    numpy.testing.assert_allclose(alone.second_confidence, base.second_confidence, rtol=1e-5)


def test_a_split_moves_only_the_objects_of_its_cluster():
    parts = numpy.eye(6, dtype=numpy.float32)[[4, 5]]
    vectors = near_axes([0, 0, 1, 2], noise=0.0)
    vectors[0, 4], vectors[1, 5], vectors[2, 4] = 0.5, 0.5, 0.5
    found = START.split(0, centroids=parts).name(5, "cat").apply(axis_clusters()).assign(vectors)
    assert found.cluster.tolist() == [4, 5, 1, 2]
    assert found.class_id.tolist() == [5, 1, 2, 3]
    assert (found.confidence[:2] < START.apply(axis_clusters()).assign(vectors).confidence[:2]).all()


def test_splits_of_splits_follow_one_another():
    parts = numpy.eye(6, dtype=numpy.float32)
    names = START.split(0, centroids=parts[[4, 5]]).split(4, centroids=parts[[2, 3]])
    vectors = near_axes([0, 0], noise=0.0)
    vectors[0, [4, 3]], vectors[1, [4, 2]] = (0.5, 0.3), (0.5, 0.3)
    assert names.apply(axis_clusters()).assign(vectors).cluster.tolist() == [7, 6]


def test_probabilities_still_sum_to_one_after_splits():
    parts = numpy.eye(6, dtype=numpy.float32)[[4, 5]]
    names = START.split(1, centroids=parts).merge(2, into=0).merge(3, into=0)
    found = names.merge(4, into=5).apply(axis_clusters()).assign(near_axes([1, 0], noise=0.3))
    numpy.testing.assert_allclose(found.confidence + found.second_confidence, 1.0, rtol=1e-5)


def test_where_all_is_one_class_there_is_no_second():
    names = START.merge(1, into=0).merge(2, into=0).merge(3, into=0)
    found = names.apply(axis_clusters()).assign(near_axes([1]))
    assert (found.second.tolist(), found.second_class_id.tolist(), found.second_confidence.tolist()) == ([NO_CLUSTER], [-1], [0.0])
    assert found.confidence.tolist() == pytest.approx([1.0])


def test_no_vectors_are_no_objects():
    assert len(START.apply(axis_clusters()).assign(numpy.zeros((0, 6), dtype=numpy.float32)).cluster) == 0

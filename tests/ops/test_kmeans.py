"""K-means of our own: the compiled one is the numpy one, its centres are at rest, and they are better than those of scikit-learn's."""

import numpy
import pytest
import torch

from mcdist.ops.kmeans import op
from mcdist.ops.kmeans.native import cluster_native
from mcdist.ops.kmeans.op import cluster
from mcdist.ops.kmeans.plan import plan_of
from mcdist.ops.kmeans.reference import cluster_reference


def overlapping(num: int, *, num_dims: int, num_kinds: int, seed: int = 0) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    centres = random.standard_normal((num_kinds, num_dims))
    return (centres[random.integers(num_kinds, size=num)] + random.standard_normal((num, num_dims))).astype(numpy.float32)


def found(vectors: numpy.ndarray, *, num_clusters: int, seed: int = 0, num_starts: int = 4) -> tuple[numpy.ndarray, float]:
    return cluster(vectors, num_clusters=num_clusters, seed=seed, num_starts=num_starts, num_iterations=100)


@pytest.mark.parametrize(("num", "num_dims", "num_clusters"), [(300, 5, 4), (500, 17, 9), (400, 32, 20), (100, 2, 30), (70, 1, 40)])
def test_the_compiled_centres_are_those_of_numpy(num: int, num_dims: int, num_clusters: int) -> None:
    vectors = overlapping(num, num_dims=num_dims, num_kinds=num_clusters + 3)
    vectors -= vectors.mean(axis=0)
    plan = plan_of(vectors, num_clusters=num_clusters, seed=1, num_starts=3, num_iterations=100)
    (compiled, objective), (expected, least) = cluster_native(vectors, plan=plan), cluster_reference(vectors, plan=plan)
    numpy.testing.assert_allclose(compiled, expected, atol=1e-5)
    assert objective == pytest.approx(least, rel=1e-5, abs=1e-3)


def test_no_vector_is_nearer_to_another_centre_and_each_centre_is_a_mean() -> None:
    vectors = overlapping(700, num_dims=9, num_kinds=20)
    centres, objective = found(vectors, num_clusters=40)
    squared = ((vectors[:, None].astype(numpy.float64) - centres) ** 2).sum(axis=2)
    own = squared.argmin(axis=1)
    assert objective == pytest.approx(squared.min(axis=1).sum(), rel=1e-6)
    assert (numpy.bincount(own, minlength=40) > 0).all()
    for cluster_number in range(40):
        numpy.testing.assert_allclose(vectors[own == cluster_number].mean(axis=0), centres[cluster_number], atol=1e-5)


def test_threads_change_nothing() -> None:
    vectors, before = overlapping(900, num_dims=12, num_kinds=15), torch.get_num_threads()
    try:
        centres = []
        for num_threads, num_starts in ((1, 5), (3, 5), (1, 1), (3, 1)):
            torch.set_num_threads(num_threads)
            centres.append(found(vectors, num_clusters=12, num_starts=num_starts)[0])
    finally:
        torch.set_num_threads(before)
    assert (centres[0] == centres[1]).all() and (centres[2] == centres[3]).all()


def test_the_objective_is_no_higher_than_that_of_scikit_learn() -> None:
    sklearn_cluster = pytest.importorskip("sklearn.cluster")
    vectors = overlapping(1500, num_dims=16, num_kinds=25)
    ours = numpy.median([found(vectors, num_clusters=20, seed=seed)[1] for seed in range(5)])
    theirs = numpy.median([sklearn_cluster.KMeans(20, n_init=4, random_state=seed).fit(vectors).inertia_ for seed in range(5)])
    assert ours <= theirs


def test_more_clusters_than_different_vectors_and_a_far_offset_are_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = numpy.repeat(numpy.array([[0, 0], [1, 0], [0, 1]], dtype=numpy.float32), 20, axis=0)
    for reason in ("", "no compiler"):
        monkeypatch.setattr(op, "reason_missing", lambda reason=reason: reason)
        centres, objective = found(vectors + 5000, num_clusters=5)
        assert objective == pytest.approx(0, abs=1e-3)
        assert {tuple(row) for row in numpy.round(centres - 5000, 3).tolist()} == {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)}


def test_too_few_vectors_and_such_as_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="5 clusters need at least as many vectors, got 4"):
        found(numpy.zeros((4, 2), dtype=numpy.float32), num_clusters=5)
    with pytest.raises(ValueError, match="must be finite"):
        found(numpy.array([[0.0], [numpy.nan]], dtype=numpy.float32), num_clusters=1)

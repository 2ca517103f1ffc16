"""Moments in pieces against numpy and scikit-learn on all vectors at once."""

import numpy
import pytest

from mcdist.evaluate.probes.moments import Moments, principal, standardiser


def vectors(*, num: int = 300, dims: int = 7, seed: int = 0) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    mixed = random.normal(size=(num, dims)) @ random.normal(size=(dims, dims)) + 50 * random.normal(size=dims)
    mixed[:, 2] = 4.0  # a dimension that does not vary
    return mixed.astype(numpy.float32)


def moments_of(values: numpy.ndarray, *, cuts: list[int], joint: bool = True) -> Moments:
    found = Moments(values.shape[1], joint=joint)
    for piece in numpy.split(values, cuts):
        found.add(piece)
    return found


@pytest.mark.parametrize("cuts", [[], [1], [0, 7, 7, 150, 299]])
def test_mean_deviation_and_covariance_are_those_of_all_vectors(cuts: list[int]) -> None:
    values = vectors()
    found = moments_of(values, cuts=cuts)
    exact = values.astype(numpy.float64)
    assert numpy.allclose(found.mean, exact.mean(axis=0), atol=1e-5)
    assert numpy.allclose(found.scatter / found.count, numpy.cov(exact.T, bias=True), atol=1e-4)
    assert numpy.allclose(found.std[[0, 1, 3]], exact.std(axis=0)[[0, 1, 3]], rtol=1e-5) and found.std[2] == 1
    assert numpy.allclose(moments_of(values, cuts=cuts, joint=False).std, found.std, rtol=1e-5)


def test_the_projection_is_scikit_learns_standard_scaler_and_pca_but_for_signs() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values = vectors(num=500, dims=9)
    expected = decomposition.PCA(n_components=4).fit_transform(preprocessing.StandardScaler().fit_transform(values.astype(numpy.float64)))
    found = principal(moments_of(values, cuts=[100, 400]), dim=4).apply(values)
    assert found.shape == (500, 4)
    assert numpy.allclose(numpy.abs(found), numpy.abs(expected), atol=2e-3)


def test_standardised_vectors_have_mean_zero_and_deviation_one_and_a_constant_becomes_zero() -> None:
    values = vectors()
    mapped = standardiser(moments_of(values, cuts=[10], joint=False)).apply(values)
    assert numpy.allclose(mapped.mean(axis=0), 0, atol=1e-3)
    assert numpy.allclose(mapped.std(axis=0), [1, 1, 0, 1, 1, 1, 1], atol=1e-3)


def test_no_more_directions_than_there_are_vectors_or_variance() -> None:
    assert principal(moments_of(vectors(num=3), cuts=[]), dim=50).num_dims == 2
    same = numpy.ones((5, 4), dtype=numpy.float32)
    assert principal(moments_of(same, cuts=[]), dim=3).apply(same).tolist() == [[0.0]] * 5

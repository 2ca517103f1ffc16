"""Logistic regression in pieces against scikit-learn's."""

import numpy
import pytest
import torch

from mcdist.evaluate.probes.logistic import LinearClassifier, fit_logistic


def problem(*, num: int = 400, dims: int = 6, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(num, dims, generator=generator)
    logits = vectors @ torch.randn(dims, classes, generator=generator) + torch.randn(num, classes, generator=generator)
    return vectors, logits.argmax(dim=1)


def fitted(vectors: torch.Tensor, labels: torch.Tensor, *, penalty: float, pieces: int, start: LinearClassifier | None = None) -> LinearClassifier:
    cut = list(zip(vectors.chunk(pieces), labels.chunk(pieces), strict=True))
    return fit_logistic(lambda: cut, num_dims=vectors.shape[1], num_classes=int(labels.max()) + 1, inverse_penalty=penalty, start=start)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_weights_are_scikit_learns(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    vectors, labels = problem()
    expected = linear_model.LogisticRegression(C=penalty, max_iter=5000, tol=1e-8).fit(vectors.double().numpy(), labels.numpy())
    found = fitted(vectors, labels, penalty=penalty, pieces=3)
    assert found.converged
    shares = torch.softmax(found.logits(vectors), dim=1).numpy()
    assert numpy.abs(shares - expected.predict_proba(vectors.double().numpy())).max() < 5e-3
    assert numpy.allclose(found.weights.T.numpy(), expected.coef_, atol=2e-2 * max(1, numpy.abs(expected.coef_).max()))


def test_pieces_and_a_start_change_nothing_but_the_number_of_passes() -> None:
    vectors, labels = problem(num=200)
    whole = fitted(vectors, labels, penalty=1.0, pieces=1)
    cut = fitted(vectors, labels, penalty=1.0, pieces=7)
    again = fitted(vectors, labels, penalty=1.0, pieces=2, start=whole)
    assert torch.allclose(whole.weights, cut.weights, atol=1e-2) and torch.allclose(whole.weights, again.weights, atol=1e-2)
    assert again.num_passes < whole.num_passes


def test_a_class_without_a_vector_is_never_the_largest() -> None:
    vectors, labels = problem(num=100, classes=3)
    found = fit_logistic(lambda: [(vectors, labels)], num_dims=6, num_classes=5, inverse_penalty=1.0)
    assert int(found.logits(vectors).argmax(dim=1).max()) <= 2

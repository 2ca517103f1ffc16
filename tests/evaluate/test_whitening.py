"""Whitening that is fitted once does to other vectors what `whiten` does to its own."""

import pytest
import torch

from mcdist.evaluate.whiten import whiten, whitening


@pytest.mark.parametrize(("num_vectors", "dim"), [(200, 5), (200, 64), (6, 4)])
def test_the_fitted_projection_whitens_its_own_set_as_whiten_does(num_vectors: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(num_vectors, 8, generator=generator) * torch.arange(1, 9) + 3
    found = whitening(vectors, dim=dim)
    projected, expected = (vectors - found.mean) @ found.projection, whiten(vectors, dim=dim)
    assert projected.shape == expected.shape
    assert torch.allclose(projected.abs(), expected.abs(), atol=1e-3)  # a direction's sign is free


def test_a_set_without_variance_gives_zeros() -> None:
    found = whitening(torch.ones(5, 3), dim=2)
    assert torch.equal((torch.ones(5, 3) - found.mean) @ found.projection, torch.zeros(5, 1))

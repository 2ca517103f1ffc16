import numpy
import pytest
import scipy.linalg
import torch

from mcdist.proposals.patch_cuts.eigen import cut_vectors


def graphs(num_nodes: int, *, batch: int = 3) -> torch.Tensor:
    """Random weights with two loose groups, so that the smallest solutions stand apart."""
    generator = torch.Generator().manual_seed(num_nodes)
    weights = torch.rand(batch, num_nodes, num_nodes, generator=generator, dtype=torch.float64)
    group = torch.arange(num_nodes) % 2
    weights = weights * torch.where(group[:, None] == group[None, :], 1.0, 0.2)
    return (weights + weights.mT) / 2


def oracle(weights: torch.Tensor, *, num_vectors: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Solutions 1..num_vectors of (D - W) y = lambda D y, dense."""
    matrix = weights.numpy()
    degree = numpy.diag(matrix.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degree - matrix, degree)
    return values[1 : num_vectors + 1], vectors[:, 1 : num_vectors + 1]


@pytest.mark.parametrize("num_nodes", [2, 20, 300])
def test_values_and_vectors_are_those_of_the_dense_solver(num_nodes):
    num_vectors = min(2, num_nodes - 1)
    weights = graphs(num_nodes)
    found = cut_vectors(weights, num_vectors=num_vectors, tolerance=1e-9, max_restarts=200)
    assert (found.residual <= 1e-9).all()
    for b in range(len(weights)):
        values, vectors = oracle(weights[b], num_vectors=num_vectors)
        numpy.testing.assert_allclose(found.values[b].numpy(), values, atol=1e-9)
        cosines = [
            numpy.dot(found.vectors[b, :, i], vectors[:, i]) / numpy.linalg.norm(vectors[:, i]) / found.vectors[b, :, i].norm() for i in range(num_vectors)
        ]
        numpy.testing.assert_allclose(numpy.abs(cosines), 1, atol=1e-6)


def test_vectors_have_unit_length_in_the_degree_metric_and_are_orthogonal_to_the_constant():
    weights = graphs(200, batch=2)
    found = cut_vectors(weights, num_vectors=2)
    degree = weights.sum(dim=2)
    gram = found.vectors.mT @ (degree[:, :, None] * found.vectors)
    torch.testing.assert_close(gram, torch.eye(2, dtype=torch.float64).expand(2, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close((degree[:, :, None] * found.vectors).sum(dim=1), torch.zeros(2, 2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_graph_alone_and_in_a_batch_gives_the_same_cut():
    weights = graphs(200).float()
    together = cut_vectors(weights).vectors[1, :, 0] > 0
    alone = cut_vectors(weights[1:2]).vectors[0, :, 0] > 0
    assert together.any() and not together.all()
    assert torch.equal(together, alone == (alone[0] == together[0])), "which of the two sides is positive is no part of the cut"


def test_two_groups_that_hardly_touch_are_told_apart():
    weights = torch.full((1, 400, 400), 1e-5)
    weights[:, :100, :100] = weights[:, 100:, 100:] = 1
    side = cut_vectors(weights).vectors[0, :, 0] > 0
    assert bool(side[:100].all()) != bool(side[100:].all())
    assert side[:100].float().std() == 0 and side[100:].float().std() == 0


def test_a_graph_whose_edges_are_all_equal_has_a_finite_answer():
    found = cut_vectors(torch.ones(1, 300, 300), num_vectors=2)
    assert bool(found.vectors.isfinite().all())
    torch.testing.assert_close(found.values, torch.ones(1, 2), atol=1e-4, rtol=0)

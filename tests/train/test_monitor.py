import pytest
import torch
import torch.nn.functional as F

from mcdist.train.monitor import embedding_rank, prototype_similarity


def test_rank_counts_the_directions_that_are_used(device: torch.device) -> None:
    valid = torch.ones(8, dtype=torch.bool, device=device)
    assert float(embedding_rank(torch.eye(8, device=device), valid=valid)) == pytest.approx(8, rel=1e-4)
    assert float(embedding_rank(torch.ones(8, 8, device=device), valid=valid)) == pytest.approx(1, rel=1e-3)


def test_similarity_is_the_mean_cosine_between_different_rows() -> None:
    rows = F.normalize(torch.randn(5, 3), dim=1)
    valid = torch.tensor([True, True, False, True, False])
    kept = rows[valid]
    pairs = [float(kept[i] @ kept[j]) for i in range(3) for j in range(3) if i != j]
    assert float(prototype_similarity(rows, valid=valid)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


@pytest.mark.parametrize("num_valid", [0, 1])
def test_too_few_rows_give_a_number_and_not_nan(num_valid: int) -> None:
    valid = torch.arange(4) < num_valid
    assert float(prototype_similarity(torch.eye(4), valid=valid)) == 0.0
    assert torch.isfinite(embedding_rank(torch.eye(4), valid=valid))

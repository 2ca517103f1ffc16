import pytest
import torch
import torch.nn.functional as F

from mcdist.train.monitor import embedding_rank, group_collapse, prototype_similarity, spread_of_predictions


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


def test_a_single_row_has_a_rank_of_1_and_no_other_to_be_similar_to() -> None:
    valid = torch.arange(4) < 1
    assert float(prototype_similarity(torch.eye(4), valid=valid)) == 0.0
    assert float(embedding_rank(torch.eye(4), valid=valid)) == pytest.approx(1, rel=1e-3)


def test_no_row_is_no_number() -> None:
    none = torch.zeros(4, dtype=torch.bool)
    assert prototype_similarity(torch.eye(4), valid=none).isnan()
    assert embedding_rank(torch.eye(4), valid=none).isnan()


def test_rows_that_are_not_valid_may_hold_anything() -> None:
    rows, valid = torch.eye(4), torch.arange(4) < 3
    rows[3] = torch.nan
    assert float(embedding_rank(rows, valid=valid)) == pytest.approx(3, rel=1e-3)
    assert float(prototype_similarity(rows, valid=valid)) == pytest.approx(0.0, abs=1e-6)


def test_predictions_are_spread_as_their_counts_are_and_the_worst_set_counts() -> None:
    assert spread_of_predictions([(100, 5, 5, 5, 5)]) == (pytest.approx(1.0), 0.25)
    assert spread_of_predictions([(0, 10, 0), (0, 5, 5)]) == (0.0, 1.0)
    assert spread_of_predictions([(7, 0, 0)]) == (0.0, 0.0), "all background"


def test_a_collapse_of_groups_is_told_in_words() -> None:
    assert group_collapse(0.9, 0.2, num_groups=25) == ""
    assert group_collapse(0.7, 0.6, num_groups=25).startswith("60 % of the cells with a group were given to one of 25 groups")
    assert "0.30 of the most entropy" in group_collapse(0.3, 0.5, num_groups=25)
    assert group_collapse(0.0, 0.0, num_groups=25), "all background"
    assert group_collapse(float("nan"), float("nan"), num_groups=25) == "", "no step was taken"
    assert group_collapse(0.9, 0.6, num_groups=2) == ""

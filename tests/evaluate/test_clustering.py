import pytest
import torch

from mcdist.evaluate.whiten import whiten


def test_whitening_makes_uncorrelated_directions_of_variance_one() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(200, 6) @ torch.randn(6, 6)
    white = whiten(vectors, dim=4)
    assert white.shape == (200, 4)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(200, 6), (5, 40)])
def test_whitening_keeps_the_directions_of_largest_variance(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(shape)
    vectors[:, 2] *= 30
    first = whiten(vectors, dim=1)[:, 0]
    assert abs(torch.corrcoef(torch.stack([first, vectors[:, 2]]))[0, 1]) > 0.99


def test_whitening_gives_no_more_directions_than_objects_or_variance_allow() -> None:
    torch.manual_seed(0)
    assert whiten(torch.randn(5, 40), dim=32).shape == (5, 4)
    assert whiten(torch.randn(50, 3) @ torch.randn(3, 40), dim=32).shape == (50, 3)
    assert whiten(torch.ones(7, 4), dim=2).tolist() == [[0.0]] * 7
    assert whiten(torch.ones(1, 4), dim=2).tolist() == [[0.0]]

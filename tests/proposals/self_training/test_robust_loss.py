import pytest
import torch
import torch.nn.functional as F

from mcdist.loss import saliency_loss
from mcdist.proposals.self_training.robust_loss import robust_loss


def masks() -> torch.Tensor:
    return torch.tensor([[[1, 0, 0, -1], [0, 0, 1, 0]]], dtype=torch.int8)


def test_for_small_q_it_is_cross_entropy():
    logits = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    known = masks() >= 0
    wanted = F.binary_cross_entropy_with_logits(logits[known], (masks()[known] > 0).float())
    torch.testing.assert_close(robust_loss(logits, masks(), q=1e-4, balance=0.0), wanted, rtol=1e-3, atol=0)


def test_balanced_for_small_q_it_is_the_models_saliency_loss_scaled():
    logits = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    wanted = saliency_loss(logits[:, None], masks().int()) / (2 * 2 / 7 * 5 / 7)
    torch.testing.assert_close(robust_loss(logits, masks(), q=1e-4, balance=1.0), wanted, rtol=1e-3, atol=0)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_for_q_of_one_it_is_the_weighted_absolute_error(balance):
    logits = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    positive, known = masks() > 0, masks() >= 0
    error = torch.where(positive, 1 - logits.sigmoid(), logits.sigmoid())
    weight = torch.where(positive, 5 / 7, 2 / 7) ** balance * known
    torch.testing.assert_close(robust_loss(logits, masks(), q=1.0, balance=balance), (weight * error).sum() / weight.sum())


def test_a_label_that_contradicts_a_sure_prediction_pulls_less_than_in_cross_entropy():
    logits = torch.tensor([[[-8.0, 8.0, -8.0]]], requires_grad=True)
    labels = torch.tensor([[[1, 1, 0]]], dtype=torch.int8)
    (robust,) = torch.autograd.grad(robust_loss(logits, labels, q=0.7, balance=0.0), logits)
    (plain,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits, labels.float()), logits)
    assert abs(float(robust[0, 0, 0])) < 0.02 * abs(float(plain[0, 0, 0]))


def test_void_has_no_gradient():
    logits = torch.zeros(1, 2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(robust_loss(logits, masks(), q=0.7, balance=0.0), logits)
    assert float(gradient[0, 0, 3]) == 0 and float(gradient[0, 0, 0]) < 0 < float(gradient[0, 0, 1])


@pytest.mark.parametrize("value", [-1, 0, 1])
def test_one_class_alone_gives_nothing(value):
    logits = torch.randn(1, 2, 4, requires_grad=True)
    loss = robust_loss(logits, torch.full((1, 2, 4), value, dtype=torch.int8), q=0.7, balance=0.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0 and not bool(gradient.any())


def test_very_large_logits_stay_finite():
    logits = torch.tensor([[[1e4, -1e4, 1e4, -1e4]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(robust_loss(logits, torch.tensor([[[0, 1, 1, 0]]], dtype=torch.int8), q=0.7, balance=0.0), logits)
    assert bool(gradient.isfinite().all())

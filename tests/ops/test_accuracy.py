"""How far float32 is from the float64 truth: no implementation may be farther than twice plain torch, plus a hair."""

import pytest
import torch
import torch.nn.functional as F

from tests.ops.contrast_case import Case, make_case

HAIR = 1e-7


def plain(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient as one writes them in plain torch: every pixel's embedding, every logit."""
    features = case.features.clone().requires_grad_()
    pixels = F.interpolate(features, size=case.instances.shape[1:], mode="bilinear", align_corners=False)
    pixels = F.normalize(pixels, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    target_of = F.pad(case.options["target_of"], (1, 0), value=-1)
    label = target_of.gather(1, case.instances.flatten(1).clamp_min(0).long()).flatten()
    logits = pixels[label >= 0] @ torch.cat([case.prototypes, case.bank]).t() / case.options["temperature"]
    counts = torch.bincount(label[label >= 0], minlength=logits.shape[1]).to(logits.dtype)
    loss = F.cross_entropy(logits, label[label >= 0], weight=1 / torch.log(1.02 + counts / counts.sum()))
    (gradient,) = torch.autograd.grad(loss, features)
    return loss.detach(), gradient


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    """|got - want| / |want|."""
    return float((got.double() - want).norm() / want.norm())


@pytest.mark.parametrize("implementation", ["reference", "compact", "fused"])
@pytest.mark.parametrize("temperature", [0.01, 0.024, 0.026, 0.07, 0.5, 10.0])
@pytest.mark.parametrize(("D", "num_bank"), [(8, 20), (32, 1000)])
def test_no_farther_from_the_truth_than_twice_plain_torch(implementation: str, temperature: float, D: int, num_bank: int) -> None:
    errors = torch.zeros(2, 2)
    for seed in range(4):
        exact = make_case(70 + seed, B=2, D=D, h=6, w=5, stride=8, num_bank=num_bank, temperature=temperature)
        case = exact.to(dtype=torch.float32)
        truth, torch_own = plain(exact), plain(case)
        loss, _, _, gradient = case.run(implementation=implementation)
        errors += torch.tensor([[error(loss, truth[0]), error(gradient, truth[1])], [error(torch_own[0], truth[0]), error(torch_own[1], truth[1])]])
    got, allowed = errors / 4
    assert (got <= 2 * allowed + HAIR).all(), (got, allowed)


@pytest.mark.parametrize("implementation", ["compact", "fused"])
def test_neighbours_that_nearly_cancel_are_no_worse_than_in_the_reference(implementation: str) -> None:
    exact = make_case(75, B=1, D=6, h=4, w=4, stride=8, num_objects=1)
    exact.features[:, :, 1::2] = -exact.features[:, :, ::2] * (1 + 1e-4)
    truth = exact.run(implementation="reference")
    dense, got = (exact.to(dtype=torch.float32).run(implementation=name) for name in ("reference", implementation))
    for mine, theirs, true in ((got[0], dense[0], truth[0]), (got[3], dense[3], truth[3])):
        assert error(mine, true) <= 2 * error(theirs, true) + HAIR

"""Recomputing changes memory alone: values, gradients and running statistics are those of an encoder that keeps its activations."""

import copy

import pytest
import torch
from torch import nn

from mcdist.choices import DecoderKind, Norm
from mcdist.model.encoder import Encoder
from mcdist.model.norms.convert import convert_norm
from tests.model.small_encoder import small_encoder


def both(norm: Norm, *, decoder: DecoderKind = "deeplabv3") -> tuple[Encoder, Encoder]:
    torch.manual_seed(0)
    plain = small_encoder(decoder)
    convert_norm(plain, kind=norm)
    thrifty = copy.deepcopy(plain)
    thrifty.set_recompute(True)
    return plain.train(), thrifty.train()


def loss_of(encoder: Encoder, *, seed: int) -> torch.Tensor:
    embedded = encoder(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    return embedded.features.square().mean() + embedded.saliency.mean()


@pytest.mark.parametrize("norm", ["batch", "group", "frozen"])
def test_gradients_and_running_statistics_are_the_same_bits(norm: Norm) -> None:
    plain, thrifty = both(norm)
    for encoder in (plain, thrifty):
        losses = [loss_of(encoder, seed=seed) for seed in range(2)]  # two forward passes before a backward one, as accumulation may have them
        for loss in losses:
            loss.backward()
    for (name, want), got in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        if want.requires_grad:
            assert want.grad is not None and got.grad is not None
            torch.testing.assert_close(got.grad, want.grad, rtol=0, atol=0, msg=name)
    for (name, kept), again in zip(plain.named_buffers(), thrifty.buffers(), strict=True):
        torch.testing.assert_close(again, kept, rtol=0, atol=0, msg=name)


def test_dropout_drops_the_same_again() -> None:
    gradients = []
    for encoder in both("group"):
        for part in encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.5
        torch.manual_seed(1)
        loss_of(encoder, seed=0).backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    assert all(torch.equal(got, want) for got, want in zip(*reversed(gradients), strict=True))


def kept_bytes(encoder: Encoder) -> int:
    """Bytes of the tensors that the graph keeps for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = loss_of(encoder, seed=0)
    loss.backward()
    return sum(kept.values())


def test_less_is_kept_between_forward_and_backward() -> None:
    plain, thrifty = both("batch")
    parameters = sum(parameter.numel() * 4 for parameter in plain.parameters())
    assert kept_bytes(thrifty) < 0.5 * (kept_bytes(plain) - parameters)


def test_an_encoder_without_gradients_computes_once() -> None:
    _, thrifty = both("batch")
    passes: list[int] = []
    thrifty.backbone.get_submodule("stages.0").register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        loss_of(thrifty, seed=0)
    assert passes == [1]

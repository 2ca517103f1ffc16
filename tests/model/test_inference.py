"""An encoder made faster for use gives what it gave before, whatever its norms, its stages and the photo's size."""

import copy

import pytest
import torch
from torch import nn

from mcdist.build import build_encoder
from mcdist.config import ModelConfig
from mcdist.model.backbones.interleave import InterleavedBlocks, interleave
from mcdist.model.encoder import Encoder
from mcdist.model.inference import quicken


def encoder_with(**changes: object) -> Encoder:
    """A random one whose norms have seen something."""
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(weights="none", decoder_width=8, embedding_dim=8, atrous_rates=[1, 2], **changes))  # type: ignore[arg-type]
    for name, buffer in encoder.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return encoder.eval()


@pytest.mark.parametrize(
    ("changes", "num_interleaved"),
    [
        (dict(backbone="efficientnet_lite0", trainable_from=5, levels=2), 10),
        (dict(backbone="efficientnet_lite0", trainable_from=0), 10),
        (dict(backbone="resnet18", trainable_from=3), 2),
        (dict(backbone="resnet18", num_stages=3), 0),
        (dict(backbone="resnet18", norm="group"), 0),
    ],
)
@torch.inference_mode()
def test_a_quickened_encoder_gives_the_same(changes: dict[str, object], num_interleaved: int) -> None:
    encoder = encoder_with(**changes)
    quick = quicken(copy.deepcopy(encoder), size_px=64)
    runs = [module for module in quick.modules() if isinstance(module, InterleavedBlocks)]
    assert sum(len(run.blocks) for run in runs) == num_interleaved
    for height, width in ((64, 64), (64, 96), (72, 40)):  # the last has rows that no step divides
        images = torch.randn(2, 3, height, width)
        before, after = encoder(images), quick(images)
        for one, other in ((before.features, after.features), (before.saliency, after.saliency)):
            assert (one - other).abs().max() <= 2e-5 * one.abs().max()


def test_interleaved_blocks_have_the_weights_of_the_blocks_and_no_copies() -> None:
    encoder = encoder_with(backbone="efficientnet_lite0")
    before = {id(parameter) for parameter in encoder.parameters()}
    assert interleave(encoder.backbone) == 10
    assert {id(parameter) for parameter in encoder.parameters()} == before
    assert interleave(nn.Identity()) == 0

"""A library caller's typo in a choice is an error of one sentence, never silently the other choice."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mcdist.errors import ConfigError
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.bank import MemoryBank
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder
from mcdist.model.momentum import follow
from mcdist.model.norms.convert import convert_norm
from mcdist.proposals.patch_cuts.features import make_extractor
from tests.makers.unchecked import make_unchecked, unchecked


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def encoder(**choice: str) -> Encoder:
    backbone = make_backbone("resnet18", num_stages=3)
    return make_unchecked(Encoder, backbone, decoder=net(), decoder_channels=4, embedding_dim=2, **choice)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: unchecked(convert_norm)(net(), kind="grp"), "model.norm must be one of batch, sync, shuffled, group, frozen, got 'grp'"),
        (lambda: unchecked(follow)(net(), query=net(), momentum=0.9, buffers="mine"), "model.momentum_buffers must be one of own, copy, got 'mine'"),
        (
            lambda: unchecked(make_decoder)("unet", num_channels=4, width=4, atrous_rates=[1], dropout=0.0),
            "model.decoder must be one of deeplabv3, linear, separable, got 'unet'",
        ),
        (lambda: encoder(embedding_from="decodr"), "model.embedding_from must be one of decoder, backbone, got 'decodr'"),
        (lambda: make_unchecked(MemoryBank, 4, dim=2, dtype="fp16"), "model.bank_dtype must be one of fp32, bf16, got 'fp16'"),
        (
            lambda: unchecked(make_extractor)("resnet18", weights="none", feature="values", device=torch.device("cpu")),
            "feature must be one of keys, tokens, got 'values'",
        ),
    ],
    ids=["norm", "momentum_buffers", "decoder", "embedding_from", "bank_dtype", "feature"],
)
def test_an_unknown_choice_of_each_component_is_one_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}$"):
        call()

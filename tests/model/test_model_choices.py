"""A library caller's typo in a choice is an error of one sentence, never silently the other choice."""

import subprocess
import sys

CODE = """
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

net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
backbone = make_backbone("resnet18", num_stages=3)
for call in (
    lambda: convert_norm(net, kind="grp"),
    lambda: follow(net, query=net, momentum=0.9, buffers="mine"),
    lambda: make_decoder("unet", num_channels=4, width=4, atrous_rates=[1], dropout=0.0),
    lambda: Encoder(backbone, decoder=net, decoder_channels=4, embedding_dim=2, embedding_from="decodr"),
    lambda: MemoryBank(4, dim=2, dtype="fp16"),
    lambda: make_extractor("resnet18", weights="none", feature="values", device=torch.device("cpu")),
):
    try:
        call()
    except ConfigError as error:
        print(error)
"""


def test_an_unknown_choice_of_each_component_is_one_sentence() -> None:
    """In a process of its own: the run-time type check of the tests would refuse it first."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == [
        "model.norm must be one of batch, sync, shuffled, group, frozen, got 'grp'",
        "model.momentum_buffers must be one of own, copy, got 'mine'",
        "model.decoder must be one of deeplabv3, linear, separable, got 'unet'",
        "model.embedding_from must be one of decoder, backbone, got 'decodr'",
        "model.bank_dtype must be one of fp32, bf16, got 'fp16'",
        "feature must be one of keys, tokens, got 'values'",
    ]

"""LoRA: nothing changes at the start, only the small matrices learn, and merged they are plain weights."""

import copy

import pytest
import torch

from mcdist.errors import ConfigError
from mcdist.model.backbones.lora import add_lora, merge_lora
from mcdist.model.backbones.registry import make_backbone
from tests.model.backbones.tiny_vits import tiny_vit


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb"])
def test_at_the_start_the_features_are_the_same_and_only_the_difference_learns(name: str) -> None:
    vit = tiny_vit(name)
    image = torch.randn(2, 3, 32, 48)
    before = vit(image).detach()
    add_lora(vit, rank=2, alpha=4.0)
    torch.testing.assert_close(vit(image), before)
    vit(image).square().sum().backward()
    trains = {parameter_name for parameter_name, parameter in vit.named_parameters() if parameter.grad is not None}
    assert trains == {parameter_name for parameter_name, parameter in vit.named_parameters() if parameter.requires_grad}
    assert len(trains) == 3 * 2 * 2 and all(parameter_name.endswith((".up", ".down")) for parameter_name in trains)
    held = [parameter for block in vit.blocks() for parameter in block.parameters()]
    assert {parameter for parameter in vit.parameters() if parameter.requires_grad} <= set(held)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3_qkvb"])
def test_the_difference_reaches_networks_that_read_the_weights_without_calling_the_layer(name: str) -> None:
    vit = tiny_vit(name)
    for parameter_name, parameter in vit.named_parameters():
        if "gamma" in parameter_name:
            torch.nn.init.ones_(parameter)  # a layer scale of 1e-5 would hide the attention
    image = torch.randn(1, 3, 32, 32)
    before = vit(image).detach()
    add_lora(vit, rank=2, alpha=4.0)
    torch.nn.init.ones_(vit.network.blocks[1].attn.qkv.parametrizations.weight[0].up)
    assert (vit(image) - before).abs().max() > 1e-3


def test_merged_they_give_the_same_features_under_the_plain_names() -> None:
    vit, image = tiny_vit(), torch.randn(1, 3, 32, 32)
    names = list(vit.state_dict())
    add_lora(vit, rank=3, alpha=6.0, first_block=2)
    for parameter_name, parameter in vit.named_parameters():
        if parameter_name.endswith(".up"):
            torch.nn.init.normal_(parameter)
    copied = copy.deepcopy(vit)  # as the key encoder is made
    want = vit(image)
    torch.testing.assert_close(copied(image), want)
    assert merge_lora(vit) == 2 * 2 and sorted(vit.state_dict()) == sorted(names)
    torch.testing.assert_close(vit(image), want)


def test_blocks_before_the_first_have_no_difference() -> None:
    vit = tiny_vit()
    add_lora(vit, rank=2, alpha=4.0, first_block=3)
    trains = [any(parameter.requires_grad for parameter in block.parameters()) for block in vit.blocks()]
    assert trains == [False, False, False, True]


def test_what_has_no_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.lora_rank=4 is for ViTs"):
        add_lora(make_backbone("resnet18"), rank=4, alpha=16.0)
    with pytest.raises(ConfigError, match="finds no attention from block 4 of 4 on"):
        add_lora(tiny_vit(), rank=4, alpha=16.0, first_block=4)

"""DINOv3's places computed on tensors are timm's."""

import pytest
import torch

from mcdist.model.backbones.rotary import free_rotary_places
from tests.model.backbones.tiny_vits import tiny_vit


@pytest.mark.parametrize("size", [(48, 80), (224, 224)], ids=str)
def test_places_are_the_same_at_every_size(size: tuple[int, int]) -> None:
    vit = tiny_vit("vit_small_patch16_dinov3")
    for parameter_name, parameter in vit.named_parameters():
        if "gamma" in parameter_name:
            torch.nn.init.ones_(parameter)  # a layer scale of 1e-5 would hide the attention
    image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        before = vit(image)
        assert free_rotary_places(vit) == 1
        torch.testing.assert_close(vit(image), before)


def test_networks_without_rotary_places_stay_as_they_are() -> None:
    assert free_rotary_places(tiny_vit()) == 0

"""Any network of timm with feature maps keeps the backbone's protocol, whatever it is made of."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.ops import FrozenBatchNorm2d

from mcdist.errors import ConfigError
from mcdist.model.backbones.freeze import freeze_before
from mcdist.model.backbones.pyramid import Pyramid, make_network
from mcdist.model.backbones.registry import make_backbone

NAMES = {
    "dilated": ("timm/test_resnet", 5, (48, 192, 96)),
    "dilated, four maps": ("timm/test_convnext2", 4, None),
    "upsampled": ("timm/test_mambaout", 4, None),
    "two maps of one stage": ("timm/test_efficientnet", 5, None),
}


@pytest.fixture(autouse=True)
def _timm() -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")


@pytest.mark.parametrize(("name", "num_blocks", "channels"), NAMES.values(), ids=NAMES)
def test_every_network_ends_on_the_grid_of_stride_eight(name: str, num_blocks: int, channels: tuple[int, ...] | None) -> None:
    backbone = make_backbone(name).eval()
    assert isinstance(backbone, Pyramid) and (backbone.stride, backbone.num_blocks) == (8, num_blocks)
    assert channels is None or backbone.level_channels == channels
    with torch.inference_mode():
        assert backbone(torch.randn(2, 3, 72, 104)).shape == (2, backbone.num_channels, 9, 13)


@pytest.mark.parametrize("name", [name for name, *_ in NAMES.values()])
def test_the_blocks_hold_every_parameter_that_gets_a_gradient_once(name: str) -> None:
    backbone = make_backbone(name)
    backbone(torch.randn(2, 3, 64, 64)).square().sum().backward()
    trains = {parameter for parameter in backbone.parameters() if parameter.requires_grad}
    assert trains == {parameter for parameter in backbone.parameters() if parameter.grad is not None}
    held = [parameter for block in backbone.blocks() for parameter in block.parameters()]
    assert len(held) == len(set(held)) and trains <= set(held)


def test_a_network_that_cannot_be_dilated_is_upsampled_where_its_cells_are() -> None:
    """Each coarse cell's value is at its middle: a map that grows evenly from left to right still does after upsampling."""
    backbone = make_backbone("timm/test_mambaout")
    assert isinstance(backbone, Pyramid) and backbone.map_strides == (4, 8, 16, 32)
    ramp = torch.arange(6.0).expand(1, 1, 2, 6)
    level = backbone._on_grid(ramp, stride=32, size=(64, 190))
    middles = (torch.arange(24) + 0.5) * 8 / 32 - 0.5
    assert level.shape == (1, 1, 8, 24)
    torch.testing.assert_close(level[0, 0, 3, 2:22], middles[2:22])


def test_a_network_with_its_native_strides_is_not_upsampled() -> None:
    backbone = make_backbone("timm/test_resnet", dilated=False).eval()
    with torch.inference_mode():
        assert (backbone.stride, backbone(torch.randn(1, 3, 64, 96)).shape[2:]) == (32, (2, 3))


def test_first_maps_alone_leave_the_later_layers_without_gradient() -> None:
    backbone = make_backbone("timm/test_resnet", num_stages=3)
    assert backbone.num_channels == 48 and len(backbone.blocks()) == 3
    backbone(torch.randn(2, 3, 32, 32)).sum().backward()
    assert {name for name, parameter in backbone.named_parameters() if parameter.requires_grad and parameter.grad is None} == set()
    assert not any(parameter.requires_grad for parameter in backbone.get_submodule("network.layer4").parameters())


def test_frozen_blocks_are_frozen_in_the_network_itself() -> None:
    backbone = make_backbone("timm/test_resnet").train()
    freeze_before(backbone, trainable_from=2)
    assert isinstance(backbone.get_submodule("network.bn1"), FrozenBatchNorm2d)
    assert isinstance(backbone.get_submodule("network.layer1.0.bn1"), FrozenBatchNorm2d)
    assert not isinstance(backbone.get_submodule("network.layer2.0.bn1"), FrozenBatchNorm2d)
    trains = [any(parameter.requires_grad for parameter in block.parameters()) for block in backbone.blocks()]
    assert trains == [False, False, True, True, True]


def test_joined_maps_are_the_last_ones_end_to_end() -> None:
    backbone = make_backbone("timm/test_convnext2").eval()
    backbone.join_levels(2)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(image), torch.cat(backbone.levels(image)[-2:], dim=1))


def test_timms_own_files_fit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = make_network("timm/test_resnet").state_dict()
    save_file(tensors, tmp_path / "model.safetensors")
    backbone = make_backbone("timm/test_resnet", weights=str(tmp_path / "model.safetensors"))
    assert torch.equal(backbone.get_parameter("network.layer3.0.conv1.weight"), tensors["layer3.0.conv1.weight"])


def test_a_size_that_is_no_multiple_of_the_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 8, got an image of 60 x 64 px"):
        make_backbone("timm/test_resnet")(torch.zeros(1, 3, 60, 64))

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ConvNeXt, resnet18
from torchvision.models.convnext import CNBlockConfig

from mcdist.errors import ConfigError
from mcdist.model.backbones.convnext import convnext_backbone
from mcdist.model.backbones.dilation import dilate
from mcdist.model.backbones.efficientnet import efficientnet_lite0_network, efficientnet_lite0_weights
from mcdist.model.backbones.fold import fold_norms
from mcdist.model.backbones.freeze import freeze_before
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.backbones.weights import load_weights


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("convnext_tiny", 768), ("efficientnet_lite0", 320)])
def test_every_backbone_has_stride_eight(name: str, channels: int) -> None:
    backbone = make_backbone(name).eval()
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 96)).shape == (1, channels, 8, 12)
    assert backbone.num_channels == channels


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 128), ("efficientnet_lite0", 40)])
def test_three_stages_reach_stride_eight_too(name: str, channels: int) -> None:
    backbone = make_backbone(name, num_stages=3).eval()
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, channels, 8, 8)


@pytest.mark.parametrize(
    ("name", "num_stages", "num_levels", "channels"),
    [("efficientnet_lite0", 5, 2, 112 + 320), ("resnet18", 5, 3, 128 + 256 + 512), ("resnet18", 4, 2, 128 + 256)],
)
def test_joined_levels_are_the_last_feature_maps_end_to_end(name: str, num_stages: int, num_levels: int, channels: int) -> None:
    backbone = make_backbone(name, num_stages=num_stages).eval()
    image = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        last = backbone(image)
        backbone.join_levels(num_levels)
        joined = backbone(image)
        torch.testing.assert_close(joined, torch.cat(backbone.levels(image)[-num_levels:], dim=1), rtol=0, atol=0)
    assert joined.shape == (1, channels, 4, 6) and backbone.num_channels == channels
    assert torch.equal(joined[:, -last.shape[1] :], last)


@pytest.mark.parametrize(("num_stages", "num_levels", "most"), [(5, 4, 3), (3, 2, 1), (5, 0, 3)])
def test_levels_on_other_grids_are_not_joined(num_stages: int, num_levels: int, most: int) -> None:
    with pytest.raises(ConfigError, match=f"model.levels must be between 1 and {most}, as many .* got {num_levels}"):
        make_backbone("resnet18", num_stages=num_stages).join_levels(num_levels)


def test_joined_levels_are_recomputed_and_frozen_as_the_last_one() -> None:
    torch.manual_seed(0)
    plain = make_backbone("resnet18").train()
    plain.join_levels(2)
    freeze_before(plain, trainable_from=4)
    thrifty = copy.deepcopy(plain)
    thrifty.set_recompute(True)
    image = torch.randn(2, 3, 32, 32)
    for backbone in (plain, thrifty):
        backbone(image).square().sum().backward()
    for (name, want), got in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert (want.grad is not None) is name.startswith("stages.4")
        assert want.grad is None or got.grad is not None and torch.equal(want.grad, got.grad)


def test_dilation_keeps_what_a_classifier_computed_where_it_looked() -> None:
    """Every fourth feature of the dilated stages is the plain stages' feature, but near the borders, where the padding differs."""
    torch.manual_seed(0)
    net = resnet18(weights=None).double().eval()
    plain = torch.nn.Sequential(copy.deepcopy(net.layer3), copy.deepcopy(net.layer4))
    dilated = torch.nn.Sequential(net.layer3, net.layer4)
    dilate(net.layer3, inherited=1, dilation=2)
    dilate(net.layer4, inherited=2, dilation=4)
    features = torch.randn(1, 128, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(dilated(features)[:, :, ::4, ::4][:, :, 6:-6, 6:-6], plain(features)[:, :, 6:-6, 6:-6])


def test_a_dilated_convnext_has_the_cells_of_the_strided_one_among_its_own() -> None:
    """At stride 16 every second cell, at stride 32 every fourth from the second on: an even kernel has no middle. Borders are padded differently."""
    torch.manual_seed(0)
    network = ConvNeXt([CNBlockConfig(8, 8, 1), CNBlockConfig(8, 8, 1), CNBlockConfig(8, 8, 1), CNBlockConfig(8, None, 1)], layer_scale=1.0).double().eval()
    native, dilated = (convnext_backbone(copy.deepcopy(network), dilated=dilated) for dilated in (False, True))
    image = torch.randn(1, 3, 512, 512, dtype=torch.float64)
    with torch.inference_mode():
        strided, whole = native.levels(image), dilated.levels(image)
    assert [tuple(level.shape[2:]) for level in whole] == [(128, 128), (128, 128), (64, 64), (64, 64), (64, 64)]
    torch.testing.assert_close(whole[3][:, :, ::2, ::2][:, :, 4:-4, 4:-4], strided[3][:, :, 4:-4, 4:-4])
    torch.testing.assert_close(whole[4][:, :, 1::4, 1::4][:, :, 6:-6, 6:-6], strided[4][:, :, 6:-6, 6:-6])


@pytest.mark.parametrize(("name", "head"), [("resnet18", None), ("efficientnet_lite0", 1280)])
def test_an_undilated_backbone_has_the_same_weights_on_a_grid_of_stride_32(name: str, head: int | None) -> None:
    dilated, native = make_backbone(name).eval(), make_backbone(name, dilated=False).eval()
    native.load_state_dict(dilated.state_dict(), strict=head is None)  # beside its last convolution it has the same names
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        levels, seen = dilated.levels(image), native.levels(image)
        assert seen[-1].shape == (1, native.num_channels, 2, 3) and native.stride == 32 and dilated.stride == 8
        torch.testing.assert_close(seen[2], levels[2], rtol=1e-4, atol=1e-4)
        assert dilated.last_convolution is None
        assert (None if native.last_convolution is None else native.last_convolution(seen[-1]).shape) == (None if head is None else (1, head, 2, 3))


def test_an_undilated_backbone_computes_what_its_publisher_does() -> None:
    network, backbone = efficientnet_lite0_network().eval(), make_backbone("efficientnet_lite0", weights="imagenet", dilated=False).eval()
    load_weights(network, path=efficientnet_lite0_weights(), what="the packaged weights", also=("_conv_head.", "_bn1."))
    image = torch.rand(1, 3, 224, 224)
    assert backbone.last_convolution is not None
    with torch.inference_mode():
        torch.testing.assert_close(backbone.last_convolution(backbone(image)), network.extract_features(image), rtol=1e-4, atol=1e-4)  # type: ignore[operator]


def test_fewer_blocks_have_an_honest_stride_and_no_last_convolution() -> None:
    backbone = make_backbone("efficientnet_lite0", num_stages=4, dilated=False)
    assert (backbone.stride, backbone.num_channels, backbone.last_convolution) == (16, 112, None)


def test_a_weights_file_without_the_last_convolution_gives_a_backbone_without_it(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in efficientnet_lite0_network().state_dict().items() if not name.startswith("_conv_head")}
    save_file(tensors, tmp_path / "weights.safetensors")
    assert make_backbone("efficientnet_lite0", weights=str(tmp_path / "weights.safetensors"), dilated=False).last_convolution is None


@pytest.mark.parametrize(("name", "weights", "num_norms"), [("efficientnet_lite0", "imagenet", 49), ("resnet18", "none", 20)])
def test_folded_norms_leave_the_features_as_they_were(name: str, weights: str, num_norms: int) -> None:
    backbone = make_backbone(name, weights=weights, dilated=False).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before = backbone(image)
    assert fold_norms(backbone, image=image[:1]) == num_norms
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
    with torch.inference_mode():
        torch.testing.assert_close(backbone(image), before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))


def test_packaged_imagenet_weights_load() -> None:
    plain, pretrained = make_backbone("efficientnet_lite0"), make_backbone("efficientnet_lite0", weights="imagenet")
    assert not torch.equal(*(backbone.get_parameter("stages.4.0._project_conv.weight") for backbone in (plain, pretrained)))


@pytest.mark.parametrize("prefix", ["", "module.encoder_q.", "module."])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_weights_files_load_under_their_publishers_names(tmp_path: Path, prefix: str, kind: str) -> None:
    tensors = {prefix + name: tensor for name, tensor in resnet18(weights=None).state_dict().items() if not name.startswith("fc.")}
    path = tmp_path / f"weights.{kind}"
    if kind == "pth":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    backbone = make_backbone("resnet18", weights=str(path))
    torch.testing.assert_close(backbone.get_parameter("stages.1.0.conv1.weight"), tensors[f"{prefix}layer1.0.conv1.weight"], rtol=0, atol=0)


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(resnet18(weights=None).state_dict(), path)
    with pytest.raises(ConfigError, match="is it for another backbone"):
        make_backbone("resnet50", weights=str(path))


def test_a_weights_file_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "weights.pth"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "extra": _Touch(witness)}, path)
    with pytest.raises(ConfigError, match="refused"):
        make_backbone("resnet18", weights=str(path))
    assert not witness.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(("weights", "message"), [("nowhere.pth", "there is no file nowhere.pth"), ("imagenet", "packaged for efficientnet_lite0 only")])
def test_missing_weights_are_one_sentence(weights: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_backbone("resnet18", weights=weights)


def test_frozen_stages_stay_as_they_start_in_train_mode() -> None:
    backbone = make_backbone("resnet18", num_stages=3).train()
    freeze_before(backbone, trainable_from=2)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 32, 32)).sum().backward()
    after = backbone.state_dict()
    frozen = [name for name in before if name.startswith(("stages.0", "stages.1"))]
    assert frozen and [name for name in frozen if not torch.equal(before[name], after[name])] == []
    assert all(parameter.grad is None for place in (0, 1) for parameter in backbone.get_submodule(f"stages.{place}").parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("stages.2") and "running" in name)

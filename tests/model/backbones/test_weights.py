"""Weights files: whatever is in them, all of the network's parameters are loaded or none, and nobody's code runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34

from mcdist.errors import ConfigError
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.backbones.weights import load_weights


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def published(prefix: str = "") -> dict[str, Tensor]:
    """The small network's tensors, each filled with ones."""
    return {prefix + name: torch.ones_like(tensor) for name, tensor in small().state_dict().items()}


def load(content: Any, tmp_path: Path) -> nn.Sequential:
    path, network = tmp_path / "weights.pth", small()
    torch.save(content, path)
    load_weights(network, path=path, what="model.weights=weights.pth")
    return network


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (torch.zeros(2, 3), r"got a tensor of shape \[2, 3\]"),
        ([torch.zeros(2)], "got a list"),
        (3.0, "got a float"),
        ({}, "got one of 0 entries without any"),
        ({"epoch": 3, "lr": 0.1}, "got one of 2 entries without any"),
        ({"state_dict": {}}, "got one of 0 entries without any"),
    ],
    ids=["tensor", "list", "number", "empty", "numbers", "empty state_dict"],
)
def test_a_file_that_is_no_dictionary_of_tensors_is_one_sentence(content: Any, got: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^model.weights=weights.pth must hold a dictionary of named tensors, {got}") as caught:
        load(content, tmp_path)
    assert "\n" not in str(caught.value)


LAYOUTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": published,
    "state_dict": lambda: {"state_dict": published(), "epoch": 3},
    "model in state_dict": lambda: {"state_dict": {"model": published()}},
    "DataParallel": lambda: {"model": published("module.")},
    "compiled": lambda: published("_orig_mod."),
    "MoCo v2": lambda: {"state_dict": published("module.encoder_q.") | _zeros("module.encoder_k.") | {"module.queue": torch.zeros(2, 3)}},
    "MoCo v3": lambda: {"state_dict": published("module.base_encoder.") | _zeros("module.momentum_encoder.")},
    "DINO": lambda: {"student": _zeros("module.backbone."), "teacher": published("backbone.") | {"head.mlp.weight": torch.zeros(2)}, "epoch": 100},
    "student alone": lambda: {"student": published("module.backbone.")},
    "query model": lambda: {"model": published("model_q.backbone.") | _zeros("model_k.backbone.")},
}


def _zeros(prefix: str) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in published(prefix).items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_common_layouts_load_whole(layout: str, tmp_path: Path) -> None:
    network = load(LAYOUTS[layout](), tmp_path)
    assert all(bool((tensor == 1).all()) for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked"))


def test_missing_and_unexpected_names_are_counted_and_named(tmp_path: Path) -> None:
    content = published()
    del content["0.weight"], content["1.bias"]
    content |= {f"extra.{number}": torch.zeros(1) for number in range(5)}
    with pytest.raises(
        ConfigError,
        match=r"lacks 2 of the network's 6 tensors \(0.weight, 1.bias\) and has 5 tensors that the network does not \(extra.0, extra.1, extra.2, ...\)",
    ):
        load(content, tmp_path)


def test_a_refused_file_changes_nothing(tmp_path: Path) -> None:
    path, network = tmp_path / "weights.pth", small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.save({name: tensor for name, tensor in published().items() if name != "1.bias"}, path)
    with pytest.raises(ConfigError, match=r"lacks 1 of the network's 6 tensors \(1.bias\)"):
        load_weights(network, path=path, what="weights")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_tensors_of_another_shape_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    content = published() | {"0.weight": torch.zeros(4, 2, 1, 1)}
    with pytest.raises(ConfigError, match=r"has 1 tensors of another shape: 0.weight is \[4, 2, 1, 1\] there and \[4, 3, 1, 1\] in the network"):
        load(content, tmp_path)


def test_a_deeper_network_is_not_loaded_by_half(tmp_path: Path) -> None:
    """All tensors of ResNet-18 are in ResNet-34 too, in their shapes."""
    path = tmp_path / "resnet34.pth"
    torch.save(resnet34(weights=None).state_dict(), path)
    with pytest.raises(ConfigError, match="has 96 tensors that the network does not .*: is it for another backbone"):
        make_backbone("resnet18", weights=str(path))


def test_another_number_of_classes_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    tensors = resnet18(weights=None, num_classes=7).state_dict()
    torch.save(tensors, path)
    backbone = make_backbone("resnet18", weights=str(path))
    assert torch.equal(backbone.blocks()[4].get_parameter("1.conv2.weight"), tensors["layer4.1.conv2.weight"])


def test_a_network_whose_own_names_begin_like_a_prefix_keeps_them(tmp_path: Path) -> None:
    network, path = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head2": nn.Linear(2, 2)}), tmp_path / "own.pth"
    torch.save({name: torch.ones_like(tensor) for name, tensor in network.state_dict().items()}, path)
    load_weights(network, path=path, what="weights")
    assert all(bool((tensor == 1).all()) for tensor in network.state_dict().values())

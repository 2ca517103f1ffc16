"""Published files are fetched by name, once, and for their own backbone. The server is a file here: nothing is downloaded."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from mcdist.errors import ConfigError, MachineError
from mcdist.model.backbones import published
from mcdist.model.backbones.published import PUBLISHED, fetch_published
from mcdist.model.backbones.registry import _entry, make_backbone


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`moco_v2_r50` as a small file of another address, for ResNet-18."""
    path = tmp_path / "moco_v2_800ep_pretrain.pth.tar"
    torch.save({"state_dict": {f"module.encoder_q.{name}": tensor for name, tensor in resnet18(weights=None).state_dict().items()}}, path)
    entry = dataclasses.replace(PUBLISHED["moco_v2_r50"], backbone="resnet18", url=path.as_uri())
    monkeypatch.setitem(published.PUBLISHED, "moco_v2_r50", entry)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return path


def test_a_name_is_fetched_once_and_loaded(on_disk: Path, tmp_path: Path) -> None:
    make_backbone("resnet18", weights="moco_v2_r50")
    on_disk.unlink()
    backbone = make_backbone("resnet18", weights="moco_v2_r50")
    assert backbone.stride == 8 and [path.name for path in (tmp_path / "hub/checkpoints").iterdir()] == ["moco_v2_800ep_pretrain.pth.tar"]


def test_a_name_is_for_its_own_backbone(on_disk: Path) -> None:
    with pytest.raises(ConfigError, match="weights=moco_v2_r50 are for the backbone resnet18, got resnet50; set model.backbone=resnet18"):
        make_backbone("resnet50", weights="moco_v2_r50")


def test_a_server_that_is_away_says_where_to_put_the_file(on_disk: Path) -> None:
    on_disk.unlink()
    with pytest.raises(MachineError, match=r"could not fetch weights=moco_v2_r50 from file://.* or put it at .*moco_v2_800ep_pretrain.pth.tar") as caught:
        fetch_published("moco_v2_r50", backbone="resnet18")
    assert "\n" not in str(caught.value)


def test_every_published_file_is_for_a_backbone_that_there_is() -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    assert [name for name, file in PUBLISHED.items() if _entry(file.backbone, dilated=True) is None or not file.url.startswith("https://")] == []

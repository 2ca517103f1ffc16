"""Published: weights files by name, where their authors keep them and which backbone they are for. Fetched once, into torch's cache."""

from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from mcdist.errors import ConfigError, MachineError

_META = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True, slots=True)
class Published:
    """One file, the backbone that it is for, and its licence as its authors state it."""

    backbone: str
    url: str
    licence: str


PUBLISHED = {
    "moco_v1_r50": Published("resnet50", f"{_META}/moco/moco_checkpoints/moco_v1_200ep/moco_v1_200ep_pretrain.pth.tar", "CC-BY-NC 4.0"),
    "moco_v2_r50": Published("resnet50", f"{_META}/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar", "CC-BY-NC 4.0"),
    "moco_v3_r50": Published("resnet50", f"{_META}/moco-v3/r-50-1000ep/r-50-1000ep.pth.tar", "CC-BY-NC 4.0"),
    "moco_v3_vits16": Published("moco_v3_vit_small", f"{_META}/moco-v3/vit-s-300ep/vit-s-300ep.pth.tar", "CC-BY-NC 4.0"),
    "moco_v3_vitb16": Published("moco_v3_vit_base", f"{_META}/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar", "CC-BY-NC 4.0"),
    "swav_r50": Published("resnet50", f"{_META}/deepcluster/swav_800ep_pretrain.pth.tar", "CC-BY-NC 4.0"),
    "dino_r50": Published("resnet50", f"{_META}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth", "Apache 2.0"),
    "dino_vits16": Published("timm/vit_small_patch16_224.dino", f"{_META}/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth", "Apache 2.0"),
    "dino_vits8": Published("timm/vit_small_patch8_224.dino", f"{_META}/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth", "Apache 2.0"),
    "dinov2_vits14": Published("timm/vit_small_patch14_dinov2.lvd142m", f"{_META}/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth", "Apache 2.0"),
    "dinov2_vits14_reg4": Published(
        "timm/vit_small_patch14_reg4_dinov2.lvd142m", f"{_META}/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth", "Apache 2.0"
    ),
    "dinov2_vitb14_reg4": Published("timm/vit_base_patch14_reg4_dinov2.lvd142m", f"{_META}/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth", "Apache 2.0"),
    "franca_vitb14": Published("franca_vit_base", "https://github.com/valeoai/Franca/releases/download/v1.0.0/franca_vitb14_In21K.pth", "Research-only RAIL"),
}
"""Name -> file, as `model.weights=NAME`."""


def fetch_published(name: str, *, backbone: str) -> Path:
    """The file, fetched unless it is in torch's cache.

    Raises:
        ConfigError: it is for another backbone.
        MachineError: it cannot be fetched.
    """
    published = PUBLISHED[name]
    if backbone.split(".")[0] != published.backbone.split(".")[0]:
        raise ConfigError(f"weights={name} are for the backbone {published.backbone}, got {backbone}; set model.backbone={published.backbone}")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(published.url).path).name
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published.url, str(path), progress=False)
    except (URLError, OSError) as error:
        raise MachineError(
            f"could not fetch weights={name} from {published.url} ({error}); fetch the file elsewhere and give weights=PATH, or put it at {path}"
        ) from error
    return path

"""SaliencyNet: our own small saliency network: a frozen backbone and a small pyramid over four of its stages.

The backbone stays as it is: masks of classical methods are wrong in a third of their pixels, and what has few parameters of its own cannot learn the errors by
heart. The pyramid sees stages of all depths, since a head on the last one alone finds the object but not its edge.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mcdist.data.views.normalise import normalise
from mcdist.errors import ConfigError
from mcdist.json_text import parse_json
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.freeze import freeze_before
from mcdist.model.backbones.registry import make_backbone
from mcdist.run_dir import write_atomically

LOGIT_STRIDE = 4
SCHEMA_VERSION = 1


class SaliencyNet(nn.Module):
    """photo -> saliency logits at a quarter of its size, from the backbone's blocks 1 (stride 4) to 4 (stride 8).

    Raises:
        ConfigError: a backbone without blocks of these strides, such as a ViT.
    """

    def __init__(self, backbone: Backbone, *, width: int, dropout: float, precision: str) -> None:
        super().__init__()
        if backbone.stride != 2 * LOGIT_STRIDE:
            raise ConfigError(
                f"self-training needs a backbone with blocks at strides {LOGIT_STRIDE} and {2 * LOGIT_STRIDE}, such as efficientnet_lite0, "
                f"got one of stride {backbone.stride}"
            )
        self.backbone, self.precision = backbone.to(memory_format=torch.channels_last), precision
        freeze_before(backbone, trainable_from=backbone.num_blocks)
        fine, *coarse = (level.shape[1] for level in self.levels(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
        self.reduce_fine = _convolution(fine, width, kernel=1)
        self.reduce = nn.ModuleList(_convolution(channels, width, kernel=1) for channels in coarse)
        self.dropout = nn.Dropout2d(dropout)
        self.mix = nn.ModuleList(nn.Sequential(_convolution(width, width, kernel=3, dilation=rate), nn.ReLU()) for rate in (1, 2, 4))
        self.saliency = nn.Sequential(_convolution(width, width // 2, kernel=3), nn.ReLU(), nn.Conv2d(width // 2, 1, 1))

    def forward(self, photos: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 h w"]:
        """Logits; H and W multiples of 32, h = H / 4."""
        return self.head(self.levels(photos))

    @torch.no_grad()
    def levels(self, photos: UInt8[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The frozen backbone's features: stage 1 at a quarter of the size, stages 2 to 4 at an eighth. Rounded to float16, as they are kept between rounds."""
        images = normalise(photos, mean=self.backbone.mean, std=self.backbone.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(photos.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return [level.float().half().float() for level in self.backbone.levels(images)[1:]]

    def head(self, levels: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B 1 h w"]:
        """The part that is trained, of `levels`."""
        fine, *coarse = levels
        mixed = torch.stack([reduce(level) for reduce, level in zip(self.reduce, coarse, strict=True)]).sum(dim=0).relu()
        mixed = self.dropout(mixed)
        for mix in self.mix:
            mixed = mixed + mix(mixed)
        mixed = F.interpolate(mixed, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.saliency((mixed + self.reduce_fine(fine)).relu())

    def train(self, mode: bool = True) -> "SaliencyNet":
        """The backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def own_tensors(self) -> dict[str, Tensor]:
        """Parameters and statistics that training changes: all but the backbone's."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("backbone.")}

    def load_own(self, tensors: dict[str, Tensor], *, what: str) -> None:
        """Inverse of `own_tensors`; ConfigError where they are another network's."""
        mine = self.own_tensors()
        if tensors.keys() != mine.keys() or any(tensors[name].shape != mine[name].shape for name in mine):
            raise ConfigError(f"{what} is of another network than this one; was it written with another backbone or width?")
        self.load_state_dict(tensors, strict=False)


@torch.inference_mode()
def predict(network: SaliencyNet, levels: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B h w"]:
    """Saliency 0..1 at a quarter of the photo's size: the mean over the photo's `levels` and their mirror images."""
    network.eval()
    mirrored = network.head([level.flip(-1) for level in levels]).sigmoid().flip(-1)
    return ((network.head(levels).sigmoid() + mirrored) / 2)[:, 0]


def make_net(*, backbone: str, weights: str, width: int, dropout: float = 0.1, precision: str = "fp32") -> SaliencyNet:
    """A network whose own part is random; seed torch before. `precision`: of the backbone, fp32 or bf16; the rest computes in fp32.

    Raises:
        ConfigError, MissingExtraError: as `make_backbone`.
    """
    return SaliencyNet(make_backbone(backbone, weights=weights), width=width, dropout=dropout, precision=precision)


def save_net(network: SaliencyNet, *, path: Path, facts: dict[str, object]) -> None:
    """The whole network with its backbone, and `facts` (backbone, width, size_px, ...) as JSON in the file's header."""
    header = {"mcdist_saliency": json.dumps({"schema_version": SCHEMA_VERSION, **facts}, sort_keys=True)}
    write_atomically(path, save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, metadata=header))


def load_net(path: Path) -> tuple[SaliencyNet, dict[str, object]]:
    """(network, facts) of `save_net`.

    Raises:
        ConfigError: no such file, or none that `save_net` wrote.
    """
    if not path.is_file():
        raise ConfigError(f"expected a self-trained network at {path}, found none; train one: mcdist proposals self-train")
    try:
        with safe_open(path, framework="pt") as file:
            facts = parse_json((file.metadata() or {})["mcdist_saliency"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} is no network that mcdist proposals self-train wrote ({type(error).__name__}); name its network.safetensors") from error
    if facts.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(f"{path} is of schema version {facts.get('schema_version')}, expected {SCHEMA_VERSION}; train it again")
    network = make_net(backbone=facts["backbone"], weights="none", width=facts["width"], precision=facts["precision"])
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{path} does not fit its own header: {str(error).splitlines()[-1].strip()}; train it again") from error
    return network.eval(), facts


def _convolution(channels: int, width: int, *, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(nn.Conv2d(channels, width, kernel, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(width))

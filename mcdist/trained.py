"""The encoder of a run or of an exported folder, for use in other programs: load it, embed a photo."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

from mcdist.build import build_encoder, head_groups
from mcdist.config import Config, ModelConfig
from mcdist.config.file import load_run_config
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import find_checkpoint
from mcdist.errors import CheckpointError, ConfigError
from mcdist.json_text import parse_json
from mcdist.model.encoder import Encoder
from mcdist.run_dir import RunDir
from mcdist.train.state import load_module
from mcdist.types import Embedded

EXPORT_FORMAT = "mcdist encoder 1"
EXPORT_CONFIG, EXPORT_WEIGHTS = "config.json", "model.safetensors"
"""Files of a folder that `mcdist export` wrote, with the names that Hugging Face gives them."""


def load_encoder(run: Path | str, *, checkpoint: str = "newest", device: torch.device | str = "cpu") -> Encoder:
    """The trained query encoder of the run folder `run`, or of a folder that `mcdist export` wrote, in evaluation mode on `device`.

    Args:
        checkpoint: "newest", "best" (the lowest training loss) or "step_NNNNNNNN"; an exported folder has one only.

    Raises:
        ConfigError: `run` is neither.
        CheckpointError: it has no such checkpoint, or the checkpoint is damaged.
    """
    folder = Path(run)
    if (folder / EXPORT_WEIGHTS).is_file():
        return _load_exported(folder, device=device)
    config = load_run_config(RunDir(folder))
    return encoder_of(config, find_checkpoint(folder, which=checkpoint).tensors, device=device)


def _load_exported(folder: Path, *, device: torch.device | str) -> Encoder:
    try:
        content = parse_json((folder / EXPORT_CONFIG).read_text(encoding="utf-8"))
        model, num_groups = content["model"], [int(num) for num in content["num_groups"]]
        tensors = {name.removeprefix("encoder."): tensor for name, tensor in load_file(folder / EXPORT_WEIGHTS).items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is no folder that mcdist export wrote, or it is damaged ({error!r}); export the run again") from error
    encoder = build_encoder(exported_model(model, where=f"{folder / EXPORT_CONFIG}", version=content.get("format")), num_groups=num_groups, pretrained=False)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / EXPORT_WEIGHTS} does not fit {folder / EXPORT_CONFIG}: {str(error).splitlines()[-1].strip()}; export the run again"
        ) from error
    return encoder.to(device).eval()


def exported_model(model: Any, *, where: str, version: Any) -> ModelConfig:
    """The section `model` of an exported folder.

    Raises:
        CheckpointError: it is of another version, or has settings that this mcdist does not know.
    """
    if version != EXPORT_FORMAT:
        raise CheckpointError(f"{where} has the format {version!r}, this mcdist reads {EXPORT_FORMAT!r}; use the mcdist that wrote it, or export the run again")
    try:
        return ModelConfig(**model)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{where} has a model that this mcdist does not know ({error}); use the mcdist that wrote it, or export the run again") from error


def encoder_of(config: Config, tensors: dict[str, Tensor], *, device: torch.device | str) -> Encoder:
    """The query encoder in a checkpoint's `tensors`, in evaluation mode on `device`."""
    encoder = build_encoder(config.model, num_groups=head_groups(config), pretrained=False)
    load_module(encoder, tensors, prefix="query/")
    return encoder.to(device).eval()


@torch.no_grad()
def embed_photo(encoder: Encoder, photo: UInt8[Tensor, "3 H W"]) -> Embedded:
    """Embed one RGB photo of any size, without gradient, on the encoder's device.

    Returns:
        Embedded(features [1, D, h, w], saliency [1, 1, h, w]) with h = ceil(H / stride) and w = ceil(W / stride): neither
        upsampled nor normalised, as in training. The saliency logit is positive where the encoder sees an object. A side that is
        not a multiple of the stride is extended by its last pixels.
    """
    backbone = encoder.backbone
    image = normalise(photo.to(next(encoder.parameters()).device), mean=backbone.mean, std=backbone.std)[None]
    embedded: Embedded = encoder(pad(image, (0, -image.shape[3] % backbone.stride, 0, -image.shape[2] % backbone.stride), mode="replicate"))
    return embedded

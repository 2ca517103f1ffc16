"""The encoder of a run, for use in other programs: load it, embed a photo."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

from mcdist.build import build_encoder, head_groups
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import find_checkpoint
from mcdist.model.encoder import Encoder
from mcdist.run_dir import RunDir
from mcdist.train.state import load_module
from mcdist.types import Embedded


def load_encoder(run: Path | str, *, checkpoint: str = "newest", device: torch.device | str = "cpu") -> Encoder:
    """The trained query encoder of the run folder `run`, in evaluation mode on `device`.

    Args:
        checkpoint: "newest", "best" (the lowest training loss) or "step_NNNNNNNN".

    Raises:
        ConfigError: `run` is not a run folder.
        CheckpointError: it has no such checkpoint, or the checkpoint is damaged.
    """
    config = load_run_config(RunDir(Path(run)))
    return encoder_of(config, find_checkpoint(Path(run), which=checkpoint).tensors, device=device)


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

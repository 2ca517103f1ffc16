"""The encoder of a run, for use in other programs: load it, embed a photo."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

from mcdist.build import build_encoder
from mcdist.config.file import load_config
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import find_checkpoint
from mcdist.errors import ConfigError
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
    run_dir = RunDir(Path(run))
    if not run_dir.config.is_file():
        raise ConfigError(f"expected a run at {run_dir.root} (its {run_dir.config.name}), found none; train first: mcdist train CONFIG run.dir={run_dir.root}")
    encoder = build_encoder(load_config(run_dir.config).model, pretrained=False)
    load_module(encoder, find_checkpoint(run_dir.root, which=checkpoint).tensors, prefix="query/")
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

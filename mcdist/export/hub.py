"""HubEncoder: a trained encoder with `save_pretrained`, `from_pretrained` and `push_to_hub`, by Hugging Face's own mixin. Its home."""

from dataclasses import asdict
from typing import Any

from mcdist.build import build_encoder
from mcdist.config import ModelConfig
from mcdist.errors import MissingExtraError
from mcdist.export.pixel_encoder import PixelEncoder
from mcdist.model.backbones.lora import merge_lora
from mcdist.model.encoder import Encoder
from mcdist.trained import EXPORT_FORMAT, exported_model

try:
    from huggingface_hub import PyTorchModelHubMixin
except ImportError as error:
    raise MissingExtraError("a Hugging Face folder needs huggingface_hub; pip install 'mcdist[hub]'") from error


class HubEncoder(PixelEncoder, PyTorchModelHubMixin, library_name="mcdist", tags=["mcdist", "self-supervised", "semantic-segmentation"]):
    """`PixelEncoder` in a folder: model.safetensors and config.json. `HubEncoder.from_pretrained("FOLDER or owner/name")`.

    `model`: the configuration's section, as `mcdist.config.ModelConfig`; `num_groups`: of each set that the group head tells apart; `about`: what the
    run that trained it says of itself.
    """

    def __init__(
        self,
        *,
        model: dict[str, Any],
        num_groups: list[int],
        format: str = EXPORT_FORMAT,
        about: dict[str, Any] | None = None,  # noqa: A002 - its name in config.json
    ) -> None:
        super().__init__(build_encoder(exported_model(model, where="config.json", version=format), num_groups=num_groups, pretrained=False))
        self.about = about or {}


def hub_encoder(encoder: Encoder, *, model: ModelConfig, num_groups: list[int], about: dict[str, Any]) -> HubEncoder:
    """A HubEncoder with the weights of a trained encoder, which is changed in place: what LoRA learnt is merged into the weights."""
    merge_lora(encoder)
    plain = {**asdict(model), "weights": "none", "lora_rank": 0, "recompute": False}
    made = HubEncoder(model=plain, num_groups=list(num_groups), about=about)
    made.encoder.load_state_dict(encoder.state_dict())
    return made

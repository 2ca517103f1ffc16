"""What the encoders of a configuration cost, counted and not measured: operations, parameters, and the bytes that the backward pass waits for."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mcdist import build
from mcdist.config import Config


@dataclass(frozen=True, slots=True)
class EncoderCosts:
    """Of one photo, but for the parameters. `forward_flops` counts a multiply-add as two. `saved_bytes`: activations kept for the backward pass."""

    forward_flops: float
    saved_bytes: float
    num_parameters: int
    num_trainable: int


def encoder_costs(config: Config) -> EncoderCosts:
    """Runs the encoder on tensors without content: nothing is computed, whatever its size."""
    with torch.device("meta"):
        encoder = build.build_encoder(config.model, pretrained=False).to("meta").train()
        photo = torch.empty(2, 3, config.views.size_px, config.views.size_px)  # two: a pooled 1 x 1 map of one photo has no variance
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[id(tensor)] = tensor.numel() * tensor.element_size()
            alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoder(photo)
    parameters = list(encoder.parameters())
    return EncoderCosts(
        forward_flops=counter.get_total_flops() / 2,
        saved_bytes=sum(kept.values()) / 2,
        num_parameters=sum(parameter.numel() for parameter in parameters),
        num_trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )

"""One step of a fine-tuning. Every collective is here, and nothing asks the device for a value."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from mcdist.data.views.normalise import normalise
from mcdist.distributed import World
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.finetune.augment import augmented
from mcdist.finetune.photos import LabelledBatch
from mcdist.finetune.state import TuneState
from mcdist.train.engines.optimizer import set_lr, step_where_finite


def tune_step(state: TuneState, batch: LabelledBatch, *, lr: float) -> Float[Tensor, ""]:
    """One optimizer step over this rank's photos. Returns this rank's share of the loss, on the device; the shares sum to the whole.

    loss = mean cross-entropy over the pixels of all ranks that are not void; 0 where all are. A step whose gradient is not finite changes nothing.
    """
    network, world = state.network, state.world
    backbone = network.encoder.backbone
    images, labels = augmented(normalise(batch.images, mean=backbone.mean, std=backbone.std), labels=batch.labels, transforms=batch.transforms)
    num_pixels = world.sum((labels != VOID_CLASS).sum())
    logits = interpolate(network(images).float(), size=labels.shape[1:], mode="bilinear", align_corners=False)
    loss = cross_entropy(logits, labels.long(), ignore_index=VOID_CLASS, reduction="sum") / num_pixels.clamp(min=1)
    loss.backward()

    sum_gradients(state.parameters, world=world)
    norm = nn.utils.get_total_norm([parameter.grad for parameter in state.parameters if parameter.grad is not None])
    found_inf = (~torch.isfinite(norm)).to(torch.float32)
    set_lr(state.optimizer, lr=lr)
    step_where_finite(state.optimizer, found_inf=found_inf)
    state.optimizer.zero_grad(set_to_none=True)
    state.skipped += found_inf
    return loss.detach()


@torch.no_grad()
def sum_gradients(parameters: list[Tensor], *, world: World) -> None:
    """The ranks' gradients added up, in one collective."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if world.num_ranks == 1:
        return
    total = world.sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    pieces = total.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [piece.view(gradient.shape) for piece, gradient in zip(pieces, gradients, strict=True)])

"""TuneState: what a fine-tuning carries from one step to the next, and how it becomes tensors and numbers for a checkpoint."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from mcdist.distributed import World
from mcdist.finetune.network import SegmentationNetwork
from mcdist.finetune.settings import TuneSettings
from mcdist.train.engines.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors
from mcdist.train.state import load_module


@dataclass(slots=True)
class TuneState:
    """`step` is a host number, the same on all ranks; everything else is on the device.

    `of_epochs`: the classifier after each epoch; empty where there are none. `skipped`: steps whose gradient was not finite, and which changed nothing.
    """

    network: SegmentationNetwork
    optimizer: Optimizer
    world: World
    of_epochs: Float[Tensor, "E L C_and_bias"]
    skipped: Float[Tensor, ""]
    step: int = 0

    @property
    def parameters(self) -> list[Tensor]:
        """Those that are trained."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as they are on the device. A network that does not change is not among them."""
        module = self.network if self.network.trains_all else self.network.classes
        found = {f"network/{name}": tensor for name, tensor in module.state_dict().items()}
        found |= {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(self.optimizer, names=self._names).items()}
        return {**found, "of_epochs": self.of_epochs, "skipped": self.skipped}

    def load(self, tensors: dict[str, Tensor], *, numbers: dict[str, Any]) -> None:
        """Continue from a checkpoint's content.

        Raises:
            CheckpointError: a tensor is missing or of another shape.
        """
        load_module(self.network if self.network.trains_all else self.network.classes, tensors, prefix="network/")
        own = {name.removeprefix("optimizer/"): tensor for name, tensor in tensors.items() if name.startswith("optimizer/")}
        load_optimizer_tensors(self.optimizer, names=self._names, tensors=own)
        self.of_epochs.copy_(tensors["of_epochs"])
        self.skipped.copy_(tensors["skipped"])
        self.step = int(numbers["step"])

    @property
    def _names(self) -> dict[Tensor, str]:
        return {parameter: name for name, parameter in self.network.named_parameters()}


def start_state(network: SegmentationNetwork, *, settings: TuneSettings, num_epochs: int, world: World) -> TuneState:
    """The state before the first step, on the world's device."""
    network = network.to(world.device)
    parts = network.feature_parts
    optimizer = make_optimizer(
        "sgd",
        backbone=parts[0],
        heads=[*parts[1:], network.classes],
        lr=settings.lr,
        backbone_lr_factor=1.0,
        sgd_momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    of_epochs = torch.zeros((num_epochs, *network.classifier.shape), device=world.device)
    return TuneState(network=network, optimizer=optimizer, world=world, of_epochs=of_epochs, skipped=torch.zeros((), device=world.device))

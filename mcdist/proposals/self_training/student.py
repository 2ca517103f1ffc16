"""Student: the network that learns from a teacher's masks, its moving average (the one that is kept) and its optimizer."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import AdamW

from mcdist.errors import ConfigError
from mcdist.proposals.self_training.level_store import Levels
from mcdist.proposals.self_training.robust_loss import robust_loss
from mcdist.proposals.self_training.saliency_net import SaliencyNet
from mcdist.run_dir import write_atomically

WARM_UP_STEPS = 10
"""The average forgets faster at first: the network it begins with is random."""


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """`ema`: how much of the average each step keeps. `q`, `balance`: of `robust_loss`. The learning rate falls by a cosine to 0."""

    lr: float = 1e-3
    weight_decay: float = 1e-3
    ema: float = 0.99
    q: float = 0.7
    balance: float = 0.0


class Student:
    """Learns step by step; everything random in a step comes from its seed and number, so that a continued run draws the same."""

    def __init__(self, network: SaliencyNet, *, settings: StudentSettings, num_steps: int, seed: int) -> None:
        self.network, self.settings, self.num_steps, self.seed = network, settings, num_steps, seed
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.device = next(network.parameters()).device
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay)

    def learn(self, levels: Levels, masks: Int8[Tensor, "B s s"], *, step: int) -> float:
        """One step on photos, each mirrored or not; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * 0.5 * (1 + math.cos(math.pi * step / self.num_steps))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(1_000_003 * self.seed + step)
            mirrored_B = torch.rand(len(masks)) < 0.5
            self.network.train()
            logits = self.network.head([_mirror(level, mirrored_B).to(self.device) for level in levels])[:, 0]
        loss = robust_loss(logits, _mirror(masks, mirrored_B).to(self.device), q=self.settings.q, balance=self.settings.balance)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._follow(min(self.settings.ema, (step + 1) / (step + 1 + WARM_UP_STEPS)))
        return float(loss.detach())

    def save(self, path: Path, *, step: int) -> None:
        """Everything that the next step depends on; `step`: how many are done."""
        tensors: dict[str, Tensor] = {f"network/{name}": tensor for name, tensor in self.network.own_tensors().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.own_tensors().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in state.items()}
        write_atomically(path, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata={"step": str(step)}))

    def load(self, path: Path) -> int:
        """Inverse of `save`.

        Raises:
            ConfigError: a damaged file, or one of another network.
        """
        try:
            with safe_open(path, framework="pt") as file:
                step = int((file.metadata() or {})["step"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        except (SafetensorError, KeyError, ValueError) as error:
            raise ConfigError(f"the state {path} of a stopped self-training cannot be read; remove the file, and its round begins again") from error
        for part, network in (("network/", self.network), ("average/", self.average)):
            network.load_own({name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}, what=str(path))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, number, key = name.split("/")
                state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return step

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        theirs = self.network.own_tensors()
        for name, tensor in self.average.own_tensors().items():
            if tensor.is_floating_point():
                tensor.lerp_(theirs[name], 1 - momentum)
            else:
                tensor.copy_(theirs[name])


def _mirror(tensor: Tensor, mirrored_B: Tensor) -> Tensor:
    chosen = mirrored_B.view(-1, *[1] * (tensor.dim() - 1))
    return torch.where(chosen, tensor.flip(-1), tensor)

"""TrainState: everything that a run carries from one step to the next, and how it becomes tensors and numbers for a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mcdist.distributed import World
from mcdist.errors import CheckpointError
from mcdist.model.bank import MemoryBank
from mcdist.model.encoder import Encoder
from mcdist.model.group_memory import GroupMemory
from mcdist.train.engines.engine import Engine
from mcdist.train.group_table import GroupTable

COUNTERS = ("redrawn", "emptied", "dropped_objects", "bad_samples", "nonfinite_steps")


@dataclass(slots=True)
class TrainState:
    """`step`, `samples_consumed` and `counters` are host numbers, the same on all ranks; everything else is on the device.

    `memory` and `table`: of groups, where the run has them; a checkpoint holds the memory and the table's digest, and `learnt` is the digest that the loaded
    one held. `notes`: what was noticed while this was built, to be told once.
    """

    query: Encoder
    key: Encoder
    bank: MemoryBank
    engine: Engine
    memory: GroupMemory | None = None
    table: GroupTable | None = None
    learnt: str | None = None
    notes: tuple[str, ...] = ()
    step: int = 0
    samples_consumed: int = 0
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))

    @property
    def world(self) -> World:
        """The ranks that train together."""
        return self.engine.world

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as they are on the device. All ranks call this together; the optimizer's may be whole on rank 0 only."""
        found = {f"query/{name}": tensor for name, tensor in self.query.state_dict().items()}
        found |= {f"key/{name}": tensor for name, tensor in self.key.state_dict().items()}
        found |= {f"bank/{name}": tensor for name, tensor in self.bank.state_dict().items()}
        if self.memory is not None:
            found |= {f"groups/{name}": tensor for name, tensor in self.memory.state_dict().items()}
        found |= {f"optimizer/{name}": tensor for name, tensor in self.engine.optimizer_tensors().items()}
        found["random/cpu"] = torch.get_rng_state()
        if self.world.device.type == "cuda":
            found["random/cuda"] = torch.cuda.get_rng_state(self.world.device)
        return found

    def numbers(self) -> dict[str, Any]:
        """All plain numbers, fit for JSON."""
        return {
            "step": self.step,
            "samples_consumed": self.samples_consumed,
            "counters": self.counters,
            "scaler": self.engine.scaler.state_dict(),
            "groups": None if self.table is None else self.table.digest,
        }

    def load(self, tensors: dict[str, Tensor], *, numbers: dict[str, Any]) -> None:
        """Continue from a checkpoint's content.

        Raises:
            CheckpointError: a tensor is missing or of another shape.
        """
        load_module(self.query, tensors, prefix="query/")
        load_module(self.key, tensors, prefix="key/")
        load_module(self.bank, tensors, prefix="bank/")
        if self.memory is not None and any(name.startswith("groups/") for name in tensors):  # a run that takes up the term on purpose starts without
            load_module(self.memory, tensors, prefix="groups/")
        self.engine.load_optimizer_tensors(_below("optimizer/", tensors))
        torch.set_rng_state(tensors["random/cpu"].cpu())
        if "random/cuda" in tensors and self.world.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"].cpu(), self.world.device)
        if numbers["scaler"]:  # empty where the checkpoint's precision has no loss scale
            self.engine.scaler.load_state_dict(numbers["scaler"])
        self.learnt = numbers.get("groups")
        self.step, self.samples_consumed = int(numbers["step"]), int(numbers["samples_consumed"])
        self.counters.update({name: int(value) for name, value in numbers["counters"].items()})


def load_module(module: torch.nn.Module, tensors: dict[str, Tensor], *, prefix: str) -> None:
    """Copy the checkpoint's tensors under `prefix` into `module`; CheckpointError names the first that does not fit."""
    given, own = _below(prefix, tensors), module.state_dict()
    for name, tensor in own.items():
        if name not in given:
            raise CheckpointError(f"the checkpoint lacks {prefix}{name}: it is of another model; use the config.yaml of its own run")
        if given[name].shape != tensor.shape:
            raise CheckpointError(
                f"the checkpoint's {prefix}{name} has shape {list(given[name].shape)}, this model's has {list(tensor.shape)}: "
                "it is of another model; use the config.yaml of its own run"
            )
    module.load_state_dict({name: given[name] for name in own})


def start_module(module: torch.nn.Module, tensors: dict[str, Tensor], *, prefix: str, optional: tuple[str, ...]) -> list[str]:
    """As `load_module`, but children named in `optional` that do not fit stay as they are. Returns their names."""
    own = module.state_dict()
    kept = [
        child
        for child in optional
        if any(name.startswith(f"{child}.") and (f"{prefix}{name}" not in tensors or tensors[f"{prefix}{name}"].shape != own[name].shape) for name in own)
    ]
    stays = {f"{prefix}{name}": tensor for name, tensor in own.items() if name.partition(".")[0] in kept}
    load_module(module, {**tensors, **stays}, prefix=prefix)
    return kept


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

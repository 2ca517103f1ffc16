"""World: the ranks of a run and the few collectives it needs. One rank alone is a world too, without any process group."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import UInt8
from torch import Tensor

from mcdist.errors import ConfigError, MachineError

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among the ranks. `device` is the one device it computes on."""

    rank: int
    num_ranks: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Rank 0 writes what exists once: checkpoints, metrics, the report."""
        return self.rank == 0

    def gather_rows(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Of each tensor concatenate(rows of rank 0, 1, ...), bit for bit; equal shapes on all ranks.

        One collective for all of them: they travel as bytes, so that an integer keeps every digit beside vectors of any dtype.
        """
        if self.num_ranks == 1:
            return tensors
        own = pack(tensors)
        gathered = own.new_empty(self.num_ranks * own.numel())
        dist.all_gather_into_tensor(gathered, own)
        return unpack(gathered.view(self.num_ranks, -1), like=tensors)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, in place; one collective."""
        if self.num_ranks > 1:
            dist.all_reduce(values)
        return values

    def begin_any(self, wish: bool) -> Callable[[], bool]:
        """Start asking whether any rank wishes; calling the result waits for the answer. On the host: no device is waited for."""
        if self.num_ranks == 1:
            return lambda: wish
        flag = torch.tensor(wish, dtype=torch.int32)
        work = dist.all_reduce(flag, op=dist.ReduceOp.MAX, async_op=True)

        def answer() -> bool:
            work.wait()
            return bool(flag)

        return answer

    def gather_texts(self, texts: list[str]) -> list[str]:
        """The texts of rank 0, 1, ... in one list, on every rank; slow, for what is rare."""
        if self.num_ranks == 1:
            return texts
        gathered: list[list[str]] = [[] for _ in range(self.num_ranks)]
        dist.all_gather_object(gathered, texts)
        return [text for own in gathered for text in own]

    def copy_from_first(self, tensors: list[Tensor]) -> None:
        """Rank 0's values everywhere, in place."""
        if self.num_ranks > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.num_ranks > 1:
            dist.barrier()


def join_world(*, device: str, timeout_s: int) -> World:
    """Join the ranks that a launcher (torchrun, srun) announced in the environment, or be alone.

    CPU tensors travel by gloo, CUDA tensors by NCCL.

    Raises:
        ConfigError: device=cuda on a machine without one, or a half-set launcher environment.
        MachineError: the ranks did not meet in time, or the port is taken.
    """
    chosen = _device(device)
    given = [name for name in LAUNCHER_VARIABLES if name in os.environ]
    if not given:
        return World(0, 1, chosen)
    if len(given) < len(LAUNCHER_VARIABLES):
        missing = ", ".join(sorted(set(LAUNCHER_VARIABLES) - set(given)))
        raise ConfigError(f"the environment has {', '.join(given)} but not {missing}; start with torchrun, or unset them to run one process")
    rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    except (dist.DistError, RuntimeError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).splitlines()[0]
        raise MachineError(
            f"rank {rank} could not meet the other {num_ranks - 1} ranks at {place} within {timeout_s} s ({reason}); "
            "if the port is in use, choose another (torchrun --master-port), else see that all ranks started"
        ) from error
    return World(rank, num_ranks, chosen)


def pack(tensors: Sequence[Tensor]) -> UInt8[Tensor, " bytes"]:
    """The bytes of all tensors, one after another."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])


def unpack(packed: UInt8[Tensor, "R bytes"], *, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Inverse of `pack` over R ranks: of each tensor its R versions, concatenated along the first axis."""
    parts = packed.split([tensor.numel() * tensor.element_size() for tensor in like], dim=1)
    # a copy of its own starts at an address that its dtype allows
    return tuple(part.clone(memory_format=torch.contiguous_format).view(-1).view(t.dtype).view(-1, *t.shape[1:]) for part, t in zip(parts, like, strict=True))


def leave_world() -> None:
    """End the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("run.device=cuda, but torch finds no CUDA device here; use run.device=cpu or auto, see: mcdist doctor")
    if name == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())

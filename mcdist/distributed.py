"""World: the ranks of a run and the few collectives it needs. One rank alone is a world too, without any process group. `mcdist.ranks.join` makes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
import torch
import torch.distributed as dist
from jaxtyping import Int, UInt8
from numpy import ndarray
from torch import Tensor

all_gather_flat = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
"""(received [ranks x n], own [n]): what each rank has, in their order. Torch 2.14 gave it another name and warns about the old one."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among the ranks, `ranks_here` of which run on this node. `device` is the one device it computes on, `num_cores` its share of the CPU."""

    rank: int
    num_ranks: int
    device: torch.device
    local_rank: int = 0
    ranks_here: int = 1
    num_cores: int = 1

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
        all_gather_flat(gathered, own)
        return unpack(gathered.view(self.num_ranks, -1), like=tensors)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, in place; one collective."""
        if self.num_ranks > 1:
            dist.all_reduce(values)
        return values

    def sum_counts(self, counts: Int[ndarray, "*shape"]) -> Int[ndarray, "*shape"]:
        """Sum over the ranks of integers on the host, on every rank; one collective. Whatever the order, the same."""
        return counts if self.num_ranks == 1 else self.sum(torch.from_numpy(counts.copy()).to(self.device)).cpu().numpy()

    def sum_apart(self) -> "SumApart | None":
        """`sum` over connections of its own, which waits behind no other exchange; None for one rank. Every rank must call this, once."""
        if self.num_ranks == 1:
            return None
        group = dist.new_group()
        assert isinstance(group, dist.ProcessGroup)
        return SumApart(group)

    def permute_rows(self, rows: Tensor, *, order: Int[ndarray, " RB"]) -> Tensor:
        """This rank's part of all[order], where all = concatenate(rows of rank 0, 1, ...); one exchange, of the rows that move only.

        Equal shapes on all ranks; `order` is a permutation of all R B rows, the same on all ranks. Extra memory: a copy of `rows`, whatever R.
        """
        if self.num_ranks == 1:
            return rows[torch.from_numpy(order).to(rows.device)]
        num_own = len(rows)
        source, target = order // num_own, numpy.arange(len(order)) // num_own
        leaving, coming = source == self.rank, source[target == self.rank]
        sent = rows[torch.from_numpy(order[leaving] % num_own).to(rows.device)]
        received = torch.empty_like(sent)
        sizes_in, sizes_out = (numpy.bincount(peers, minlength=self.num_ranks).tolist() for peers in (coming, target[leaving]))
        dist.all_to_all_single(received, sent, sizes_in, sizes_out)
        arrival = numpy.argsort(coming, kind="stable")  # they come rank by rank
        if (arrival[1:] > arrival[:-1]).all():
            return received
        return received[torch.from_numpy(numpy.argsort(arrival)).to(rows.device)]

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

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.num_ranks > 1:
            dist.barrier()


ALONE = World(rank=0, num_ranks=1, device=torch.device("cpu"))
"""One process that computes without others."""


class SumApart:
    """Adds a tensor up over all ranks, in place, within a process group of its own. A copied encoder goes on with the same group."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group

    def __call__(self, values: Tensor) -> Tensor:
        """One collective."""
        dist.all_reduce(values, group=self.group)
        return values

    def __deepcopy__(self, memo: dict[int, object]) -> "SumApart":
        return self


def pack(tensors: Sequence[Tensor]) -> UInt8[Tensor, " bytes"]:
    """The bytes of all tensors, one after another."""
    return torch.cat([tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors])


def unpack(packed: UInt8[Tensor, "R bytes"], *, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Inverse of `pack` over R ranks: of each tensor its R versions, concatenated along the first axis."""
    parts = packed.split([tensor.numel() * tensor.element_size() for tensor in like], dim=1)
    # a copy of its own starts at an address that its dtype allows
    return tuple(part.clone(memory_format=torch.contiguous_format).view(-1).view(t.dtype).view(-1, *t.shape[1:]) for part, t in zip(parts, like, strict=True))

"""Interval: sums since the last log step. Device scalars stay on the device until `read`; times and counts of views are the host's."""

import time
from collections.abc import Iterable

import torch
from torch import Tensor

from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.model.bank import MemoryBank
from mcdist.train.memory import page_faults, read_peaks
from mcdist.train.monitor import embedding_rank, prototype_similarity
from mcdist.train.step import StepResult


class Interval:
    """`views` and `bad`: what the loader counted and could not read. `num_steps`, `wait_s`, `took_s`: the interval's steps and times.

    `predicted`, once it was read: the cells of all ranks that were given to the background and to each group, by set.
    """

    def __init__(self, *, in_a_row: Tensor) -> None:
        """`in_a_row`: 0-d on the device, how many skipped steps the interval before ended with."""
        self.views = dict.fromkeys(("redrawn", "emptied", "dropped_objects", "bad_samples"), 0)
        self.bad: list[str] = []
        self.num_steps, self.wait_s, self._began_s = 0, 0.0, time.perf_counter()
        self._faults_before = page_faults()
        self.in_a_row, self._longest = in_a_row, in_a_row
        self._names: tuple[str, ...] = ()
        self._set_sizes: tuple[int, ...] = ()
        self._sums = torch.zeros((), dtype=torch.float64, device=in_a_row.device)  # takes the length of the first step's values
        self.predicted: tuple[tuple[int, ...], ...] = ()

    @property
    def took_s(self) -> float:
        """Time since the interval began."""
        return time.perf_counter() - self._began_s

    def add_batches(self, batches: Iterable[Batch], *, wait_s: float) -> None:
        """Count what the loader redrew, dropped and could not read; the loop waited `wait_s` for these."""
        self.wait_s += wait_s
        for batch in batches:
            self.views["redrawn"] += batch.num_redrawn
            self.views["emptied"] += batch.num_emptied
            self.views["dropped_objects"] += batch.num_dropped_objects
            self.views["bad_samples"] += batch.num_bad
            self.bad += batch.bad

    def add(self, result: StepResult) -> None:
        """Add a step. A skipped one enters no sum; `finite` counts the others."""
        scalars = {
            "finite": 1.0 - result.skipped,
            "loss": result.loss,
            **{f"loss/{name}": value for name, value in result.terms.items()},
            **result.counts,
            "coverage": result.coverage,
            "grad_norm": result.grad_norm,
        }
        self._names = tuple(scalars)
        self._set_sizes = tuple(len(cells) for cells in result.predicted)
        values = torch.cat([torch.stack([value.to(torch.float64) for value in scalars.values()]), *result.predicted])
        self._sums = self._sums + torch.where(result.skipped > 0, 0.0, values)
        self.in_a_row = (self.in_a_row + result.skipped) * result.skipped
        self._longest = torch.maximum(self._longest, self.in_a_row)
        self.num_steps += 1

    def read(self, result: StepResult, *, bank: MemoryBank, world: World) -> dict[str, float]:
        """Every sum over steps and ranks by its name, the largest memory and page faults of any rank, and what is the same on all ranks: `longest`
        run of skipped steps, the monitor of the last step, the bank.

        The one place where the host waits for the device, once.
        """
        host = {name: [float(number)] for name, number in self.views.items()}
        largest = {"page_faults_per_step": (page_faults() - self._faults_before) / self.num_steps, **read_peaks(world.device)}
        host |= {name: _place_of_a_rank(number, world=world) for name, number in largest.items()}
        own = torch.tensor([number for numbers in host.values() for number in numbers], dtype=torch.float64, device=self._sums.device)
        usage = bank.usage()
        same = {
            "longest": self._longest,
            "embedding_rank": embedding_rank(result.prototypes, valid=result.valid),
            "prototype_similarity": prototype_similarity(result.prototypes, valid=result.valid),
            "bank_fill_percent": usage.fill_percent,
            "bank_age_mean_steps": usage.age_mean_steps,
            "bank_age_max_steps": usage.age_max_steps,
        }
        summed = world.sum(torch.cat([self._sums, own]))
        values = iter(torch.cat([summed, torch.stack([value.to(torch.float64) for value in same.values()])]).tolist())
        totals = {name: next(values) for name in self._names}
        self.predicted = tuple(tuple(int(next(values)) for _ in range(size)) for size in self._set_sizes)
        totals |= {name: max([next(values) for _ in numbers]) for name, numbers in host.items()}
        return totals | {name: next(values) for name in same}


def _place_of_a_rank(number: float, *, world: World) -> list[float]:
    """The number in its rank's place among zeros: summed over the ranks, all of them."""
    return [number if rank == world.rank else 0.0 for rank in range(world.num_ranks)]

"""Memory bank: the prototypes of earlier steps as negatives, on the device, without ever asking the device how many there are."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mcdist.choices import BankDtype, require_choice

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class BankUsage:
    """How full the bank is, and how many steps ago its rows were written; device scalars, 0 where no row is in use."""

    fill_percent: Float[Tensor, ""]
    age_mean_steps: Float[Tensor, ""]
    age_max_steps: Float[Tensor, ""]


class MemoryBank(nn.Module):
    """A ring of `size` unit vectors. `num_valid` counts the rows ever filled (at most `size`): rows at and beyond it are no candidates.

    Counters are tensors on the device, so that a step with any number of valid prototypes costs no synchronisation. A row counts as empty by
    its place alone, whatever it holds. Rows are stored as they are; rounding to bfloat16 leaves them within 2^-8 of unit length.
    """

    rows: Float[Tensor, "K1 D"]
    ages: Int[Tensor, " K1"]
    num_valid: Int[Tensor, ""]
    next_row: Int[Tensor, ""]

    def __init__(self, size: int, *, dim: int, dtype: BankDtype = "fp32") -> None:
        super().__init__()
        require_choice("model.bank_dtype", dtype, choices=BankDtype)
        self.size = size
        self.register_buffer("rows", torch.zeros(size + 1, dim, dtype=DTYPES[dtype]))  # the last row takes what is not kept
        self.register_buffer("ages", torch.zeros(size + 1, dtype=torch.int32))  # steps since each row was written
        self.register_buffer("num_valid", torch.zeros((), dtype=torch.int64))
        self.register_buffer("next_row", torch.zeros((), dtype=torch.int64))

    @property
    def candidates(self) -> Float[Tensor, "K D"]:
        """All rows, in the dtype they are stored in; only the first `num_valid` are filled."""
        return self.rows[: self.size]

    @torch.no_grad()
    def enqueue(self, prototypes: Float[Tensor, "P D"], *, valid: Bool[Tensor, " P"]) -> None:
        """Write the valid prototypes over the oldest rows, in order; of more than `size` the last stay. Every other row is a step older."""
        if not self.size:
            return
        rank = valid.cumsum(0) - 1
        num_new = rank[-1] + 1
        kept = valid & (rank >= num_new - self.size)
        target = torch.where(kept, (self.next_row + rank) % self.size, self.size)
        self.rows.index_copy_(0, target, torch.where(kept[:, None], prototypes.to(self.rows.dtype), 0.0))
        self.ages.add_(1).index_fill_(0, target, 0)
        self.next_row.copy_((self.next_row + num_new) % self.size)
        self.num_valid.copy_((self.num_valid + num_new).clamp(max=self.size))

    @torch.no_grad()
    def usage(self) -> BankUsage:
        """Over the rows in use, just after a step: 0 steps for those that the step wrote, so the next step sees each one step older."""
        ages = torch.where(torch.arange(self.size, device=self.ages.device) < self.num_valid, self.ages[: self.size], 0)
        oldest = ages.max() if self.size else self.num_valid
        mean = ages.sum() / self.num_valid.clamp_min(1)
        return BankUsage(fill_percent=100.0 * self.num_valid / max(self.size, 1), age_mean_steps=mean, age_max_steps=oldest.float())

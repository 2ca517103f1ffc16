"""Memory bank: the prototypes of earlier steps as negatives, on the device, without ever asking the device how many there are."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """A ring of `size` unit vectors. `num_valid` counts the rows ever filled (at most `size`): rows at and beyond it are no candidates.

    Counters are tensors on the device, so that a step with any number of valid prototypes costs no synchronisation.
    """

    rows: Float[Tensor, "K1 D"]
    num_valid: Int[Tensor, ""]
    next_row: Int[Tensor, ""]

    def __init__(self, size: int, *, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("rows", torch.zeros(size + 1, dim))  # the last row takes what must not be kept
        self.register_buffer("num_valid", torch.zeros((), dtype=torch.int64))
        self.register_buffer("next_row", torch.zeros((), dtype=torch.int64))

    @property
    def candidates(self) -> Float[Tensor, "K D"]:
        """All rows; only the first `num_valid` are filled."""
        return self.rows[: self.size]

    @torch.no_grad()
    def enqueue(self, prototypes: Float[Tensor, "P D"], *, valid: Bool[Tensor, " P"]) -> None:
        """Write the valid prototypes over the oldest rows, in order; of more than `size` the last stay."""
        if not self.size:
            return
        rank = valid.cumsum(0) - 1
        num_new = rank[-1] + 1
        kept = valid & (rank >= num_new - self.size)
        target = torch.where(kept, (self.next_row + rank) % self.size, self.size)
        self.rows.index_copy_(0, target, torch.where(kept[:, None], prototypes.to(self.rows.dtype), 0.0))
        self.next_row.copy_((self.next_row + num_new) % self.size)
        self.num_valid.copy_((self.num_valid + num_new).clamp(max=self.size))

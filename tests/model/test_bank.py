import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mcdist.model.bank import MemoryBank


@given(
    size=st.integers(1, 9),
    steps=st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=6),
)
def test_bank_keeps_the_newest_valid_rows_in_a_ring(size: int, steps: list[list[bool]]) -> None:
    bank, seen, number = MemoryBank(size, dim=2), [], 0.0
    for flags in steps:
        rows = torch.arange(number + 1, number + 1 + len(flags))[:, None].expand(-1, 2).clone()
        number += len(flags)
        bank.enqueue(rows, valid=torch.tensor(flags))
        seen += [float(row[0]) for row, flag in zip(rows, flags, strict=True) if flag]
    kept = seen[-size:]
    assert int(bank.num_valid) == len(kept)
    assert sorted(bank.candidates[: len(kept), 0].tolist()) == sorted(kept)
    assert int(bank.next_row) == len(seen) % size


def test_a_bank_of_size_zero_takes_everything_and_holds_nothing() -> None:
    bank = MemoryBank(0, dim=4)
    bank.enqueue(torch.ones(3, 4), valid=torch.ones(3, dtype=torch.bool))
    assert bank.candidates.shape == (0, 4)


def test_invalid_rows_leave_no_trace_even_when_not_finite(device: torch.device) -> None:
    bank = MemoryBank(4, dim=3).to(device)
    rows = F.normalize(torch.randn(3, 3, device=device), dim=1)
    rows[1] = torch.nan
    bank.enqueue(rows, valid=torch.tensor([True, False, True], device=device))
    assert int(bank.num_valid) == 2
    torch.testing.assert_close(bank.candidates[:2], rows[[0, 2]])
    assert bank.rows.isfinite().all()

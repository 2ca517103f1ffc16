import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mcdist.choices import BankDtype
from mcdist.model.bank import MemoryBank

SIZES = st.integers(1, 9)
STEPS = st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=6)


def fill(bank: MemoryBank, steps: list[list[bool]]) -> list[tuple[float, int]]:
    """Enqueue numbered rows step by step; gives (number, age) of every valid one, oldest first."""
    seen: list[tuple[float, int]] = []
    number = 0.0
    for step, flags in enumerate(steps, start=1):
        rows = torch.arange(number + 1, number + 1 + len(flags))[:, None].expand(-1, 2).clone()
        number += len(flags)
        bank.enqueue(rows, valid=torch.tensor(flags))
        seen += [(float(row[0]), len(steps) - step) for row, flag in zip(rows, flags, strict=True) if flag]
    return seen


@given(size=SIZES, steps=STEPS, dtype=st.sampled_from(["fp32", "bf16"]))
def test_bank_keeps_the_newest_valid_rows_in_a_ring_with_their_ages(size: int, steps: list[list[bool]], dtype: BankDtype) -> None:
    bank = MemoryBank(size, dim=2, dtype=dtype)
    seen = fill(bank, steps)
    kept = seen[-size:]
    assert int(bank.num_valid) == len(kept)
    held = zip(bank.candidates[: len(kept), 0].tolist(), bank.ages[: len(kept)].tolist(), strict=True)
    assert sorted(held) == sorted(kept)
    assert int(bank.next_row) == len(seen) % size


@given(size=SIZES, steps=STEPS)
def test_usage_is_that_of_the_rows_in_use(size: int, steps: list[list[bool]]) -> None:
    bank = MemoryBank(size, dim=2)
    ages = [age for _, age in fill(bank, steps)[-size:]]
    usage = bank.usage()
    assert float(usage.fill_percent) == pytest.approx(100 * len(ages) / size)
    assert float(usage.age_mean_steps) == pytest.approx(sum(ages) / max(len(ages), 1))
    assert float(usage.age_max_steps) == max(ages, default=0)


def test_a_bank_of_size_zero_takes_everything_and_holds_nothing() -> None:
    bank = MemoryBank(0, dim=4)
    bank.enqueue(torch.ones(3, 4), valid=torch.ones(3, dtype=torch.bool))
    assert bank.candidates.shape == (0, 4)
    assert [float(value) for value in (bank.usage().fill_percent, bank.usage().age_mean_steps, bank.usage().age_max_steps)] == [0, 0, 0]


def test_invalid_rows_leave_no_trace_even_when_not_finite(device: torch.device) -> None:
    bank = MemoryBank(4, dim=3).to(device)
    rows = F.normalize(torch.randn(3, 3, device=device), dim=1)
    rows[1] = torch.nan
    bank.enqueue(rows, valid=torch.tensor([True, False, True], device=device))
    assert int(bank.num_valid) == 2
    torch.testing.assert_close(bank.candidates[:2], rows[[0, 2]])
    assert bank.rows.isfinite().all()


def test_bf16_rows_stay_within_two_to_the_minus_eight_of_unit_length(device: torch.device) -> None:
    bank = MemoryBank(512, dim=32, dtype="bf16").to(device)
    bank.enqueue(F.normalize(torch.randn(512, 32, device=device), dim=1), valid=torch.ones(512, dtype=torch.bool, device=device))
    assert bank.candidates.dtype == torch.bfloat16
    torch.testing.assert_close(bank.candidates.float().norm(dim=1), torch.ones(512, device=device), rtol=0, atol=2**-8)


def test_a_loaded_bank_goes_on_as_the_saved_one() -> None:
    bank, again = MemoryBank(5, dim=2), MemoryBank(5, dim=2)
    fill(bank, [[True, False, True], [True, True, True, True]])
    again.load_state_dict(bank.state_dict())
    for one in (bank, again):
        fill(one, [[False, True]])
    assert bank.state_dict().keys() == {"rows", "ages", "num_valid", "next_row"}
    for name, tensor in bank.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)

"""Tolerance: how far a result may be from the true one, by the dtype it is rounded to. One table, for the tests and for a GPU's first use."""

from typing import TypedDict

import torch


class Tolerance(TypedDict):
    """How far a number may be from the true one: relative and absolute, as `torch.testing.assert_close` takes them."""

    rtol: float
    atol: float


TOLERANCE: dict[torch.dtype, Tolerance] = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 2e-5, "atol": 2e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-3},
    torch.float16: {"rtol": 2.5e-3, "atol": 2.5e-4},
}
"""float16 is bfloat16's row by the ratio of their roundings."""

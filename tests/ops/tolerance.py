"""How far a result may be from the float64 truth, by the dtype it was computed in. One table; it never loosens."""

import torch

TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 2e-5, "atol": 2e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-3},
}

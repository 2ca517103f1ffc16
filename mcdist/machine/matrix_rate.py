"""Matrix rate: how fast this machine multiplies two matrices, the yardstick for what a network could reach on it."""

import time

import torch

SIDES = {"cpu": 1536, "cuda": 8192}
NUM_RUNS = 5


def matrix_gflops(device: torch.device, *, dtype: torch.dtype) -> float:
    """GFLOP a second of a plain product of two square matrices, the best of a few, with the threads that torch has now. Takes well under a second."""
    side = SIDES.get(device.type, SIDES["cpu"])
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    taken_s = []
    for _ in range(NUM_RUNS + 1):
        began_s = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken_s.append(time.perf_counter() - began_s)
    return 2 * side**3 / min(taken_s[1:]) / 1e9

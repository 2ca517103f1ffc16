"""Trial: small cases through the fused operators and the compact ones, forward and backward, and how far apart the results are.

`implementation="auto"` asks for it before it trusts a GPU's kernels (see `verdict.py`). As a program it prints its comparisons as JSON:

    python -m mcdist.ops.trial cuda:0
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdist.ops.mask_contrast.library import mask_contrast_op
from mcdist.ops.mask_pool.library import mask_pool_op
from mcdist.ops.tolerance import TOLERANCE

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Every dtype that training gives to the operators."""

UNREACHABLE = 3
"""Exit code of the program where this process cannot use the device."""

B, D, h, w, STRIDE, NUM_OBJECTS, NUM_PROTOTYPES, NUM_BANK = 2, 20, 3, 5, 4, 3, 8, 70
"""Sizes that are no multiple of any tile, and more candidates than one word of bits."""

Results = dict[str, tuple[Tensor, torch.dtype | None]]
"""Each quantity of an operator with the dtype that its tolerance belongs to; None: it must be equal."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The largest difference between fused and compact in one `quantity` of `operator` on features of `dtype`, and the largest allowed.

    `error` says why there are no numbers; it is empty where there are.
    """

    operator: str
    dtype: str
    quantity: str
    difference: float
    tolerance: float
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether the two agree; NaN never does."""
        return not self.error and self.difference <= self.tolerance

    def __str__(self) -> str:
        if self.error:
            return f"{self.operator} in {self.dtype} failed: {self.error}"
        return f"{self.operator} in {self.dtype}: {self.quantity} differs by {self.difference:.3g}, allowed is {self.tolerance:.3g}"


@dataclass(frozen=True, slots=True)
class Trial:
    """The operators on trial; tests plant others. Each is called as its library operator, with `fused` true and false."""

    contrast: Callable[..., Any] = mask_contrast_op
    pool: Callable[..., Any] = mask_pool_op

    def run(self, device: torch.device) -> list[Comparison]:
        """Compare both operators in every dtype. The first error ends the trial: it may leave the device unusable."""
        found: list[Comparison] = []
        ways = {"mask_contrast": self._contrast, "mask_contrast with exclusions by target": self._contrast_by_target, "mask_pool": self._pool}
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            features = torch.randn(B, D, h, w, generator=torch.Generator().manual_seed(0)).to(device)
            for dtype in DTYPES:
                for operator, way in ways.items():
                    found += _compare(way, features.to(dtype), operator=operator)
                    if found[-1].error:
                        return found
        return found

    def _contrast(self, features: Tensor, fused: bool) -> Results:
        hidden = torch.zeros(1, NUM_PROTOTYPES + NUM_BANK, dtype=torch.bool)
        hidden[0, 1] = hidden[0, NUM_PROTOTYPES + 50 :] = True  # an object that only one view has, and rows of the bank not filled yet
        return self._contrast_without(hidden, features, fused)

    def _contrast_by_target(self, features: Tensor, fused: bool) -> Results:
        hidden = torch.rand(NUM_PROTOTYPES, NUM_PROTOTYPES + NUM_BANK, generator=torch.Generator().manual_seed(3)) < 0.3
        hidden[:, :NUM_PROTOTYPES].fill_diagonal_(False)
        hidden[:, NUM_PROTOTYPES + 50 :] = True
        return self._contrast_without(hidden, features, fused)

    def _contrast_without(self, hidden: Tensor, features: Tensor, fused: bool) -> Results:
        device, wide = features.device, torch.promote_types(features.dtype, torch.float32)
        row_of = torch.tensor([[0, 2, -1], [7, 4, 5]], dtype=torch.int32)
        candidates = F.normalize(torch.randn(hidden.shape[1], D, generator=torch.Generator().manual_seed(1)), dim=1)
        weight = torch.linspace(0.5, 2, NUM_PROTOTYPES)
        leaf = features.detach().requires_grad_()
        operands = (_instances().to(device), row_of.to(device), candidates.to(device, wide), hidden.to(device), weight.to(device, wide))
        loss, correct, _ = self.contrast(leaf, *operands, 0.5, STRIDE, fused, True)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return {"loss": (loss.detach(), wide), "correct": (correct, None), "gradient": (gradient, features.dtype)}

    def _pool(self, features: Tensor, fused: bool) -> Results:
        leaf = features.detach().requires_grad_()
        sums, num_pixels = self.pool(leaf, _instances().to(features.device), NUM_OBJECTS, STRIDE, fused)
        dsums = torch.randn(sums.shape, generator=torch.Generator().manual_seed(2)).to(sums)
        (gradient,) = torch.autograd.grad(sums, leaf, dsums)
        return {"pooled rows": (sums.detach(), sums.dtype), "pixel counts": (num_pixels, None), "gradient": (gradient, features.dtype)}


def _instances() -> Tensor:
    """Objects, background and void, pixel by pixel."""
    return torch.randint(-1, NUM_OBJECTS + 1, (B, h * STRIDE, w * STRIDE), generator=torch.Generator().manual_seed(4), dtype=torch.int16)


def _compare(way: Callable[[Tensor, bool], Results], features: Tensor, *, operator: str) -> list[Comparison]:
    """The compact way computes in float64, from the same rounded features: so no setting of torch for float32 enters."""
    dtype = str(features.dtype).removeprefix("torch.")
    truth = way(features.double(), False)
    try:
        results = {name: (result.cpu().double(), judged) for name, (result, judged) in way(features, True).items()}
    except Exception as error:
        return [Comparison(operator, dtype, "", math.nan, math.nan, error=_first_line(error))]
    return list(_differences(results, {name: result.cpu().double() for name, (result, _) in truth.items()}, operator=operator, dtype=dtype))


def _differences(results: Results, truth: dict[str, Tensor], *, operator: str, dtype: str) -> Iterator[Comparison]:
    for name, (result, judged) in results.items():
        bound = TOLERANCE[judged] if judged else {"atol": 0.0, "rtol": 0.0}
        tolerance = bound["atol"] + bound["rtol"] * float(truth[name].abs().max())
        yield Comparison(operator, dtype, name, float((result - truth[name]).abs().max()), tolerance)


def _first_line(error: Exception) -> str:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}"[:300]


def main(name: str) -> int:
    """Print the comparisons on the device `name`; the exit code says whether there are any."""
    try:
        torch.zeros(1, device=name)
    except RuntimeError as error:
        print(_first_line(error), file=sys.stderr)
        return UNREACHABLE
    print(json.dumps([asdict(comparison) for comparison in Trial().run(torch.device(name))]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
